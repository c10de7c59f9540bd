// Values of Secrets, by `get` alone and one key at a time: Secrets are never listed or watched. A value is read again after a minute,
// or when somebody has found that it no longer opens what it should. Not a cache of Secrets: only what is asked for is kept.

import type { Clock } from '../clock.ts'
import type { KubeObject } from '../objects.ts'
import type { KubeClient } from './client.ts'
import { secrets } from './resources.ts'

/** A key of a Secret. */
export interface SecretKey {
  readonly namespace: string
  readonly name: string
  readonly key: string
}

interface Known {
  readonly value: Promise<string | undefined>
  readonly at: number
}

/** How old a value may be. */
const FRESH_MS = 60_000
/** A value that nobody has asked for in so long is forgotten. */
const FORGET_MS = 10 * FRESH_MS

export class SecretValues {
  readonly #client: KubeClient
  readonly #clock: Clock
  readonly #known = new Map<string, Known>()
  #sweptAt: number

  constructor(client: KubeClient, clock: Clock) {
    this.#client = client
    this.#clock = clock
    this.#sweptAt = clock.monotonic()
  }

  /**
   * Reads a key, or tells what it was within the last minute; several who ask at once share one request.
   * @param options.anew when what was read before is known to be wrong
   * @returns undefined when the Secret or its key is not there
   * @throws ApiError
   */
  async read(key: SecretKey, options: { readonly anew?: boolean } = {}): Promise<string | undefined> {
    this.#sweep()
    const at = this.#clock.monotonic()
    const name = JSON.stringify([key.namespace, key.name, key.key])
    const known = this.#known.get(name)
    if (known && options.anew !== true && at - known.at < FRESH_MS) return known.value
    const value = this.#get(key)
    this.#known.set(name, { value, at })
    try {
      return await value
    } catch (error) {
      // The next who asks tries again.
      if (this.#known.get(name)?.value === value) this.#known.delete(name)
      throw error
    }
  }

  async #get({ namespace, name, key }: SecretKey): Promise<string | undefined> {
    const secret = await this.#client.get<KubeObject & { data?: Record<string, string> }>(secrets, namespace, name)
    const value = secret?.data?.[key]
    return value === undefined ? undefined : Buffer.from(value, 'base64').toString('utf8')
  }

  #sweep(): void {
    const now = this.#clock.monotonic()
    if (now - this.#sweptAt < FORGET_MS) return
    this.#sweptAt = now
    for (const [name, { at }] of this.#known) if (now - at > FORGET_MS) this.#known.delete(name)
  }
}
