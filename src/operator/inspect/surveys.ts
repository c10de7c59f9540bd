// What a broker says to everybody who looks at it, asked once for all TaskQueues that share its connection.

import type { BrokerConnection } from '@taskqueue/runtime/broker'
import { survey, type Survey } from '@taskqueue/runtime/patrol'
import type { Clock } from '../clock.ts'

interface Asked {
  readonly at: number
  readonly told: Promise<Survey>
  /** Since when settings of workers are reused. */
  readonly settingsAt: number
}

/** A worker that came back under its name with other settings is noticed after so long. Milliseconds. */
const SETTINGS_MS = 600_000

export class Surveys {
  readonly #clock: Clock
  readonly #askMs: number
  /** They go with their connection. */
  readonly #asked = new WeakMap<BrokerConnection, Asked>()

  /** @param askMs how long workers may take to answer */
  constructor(clock: Clock, askMs: number) {
    this.#clock = clock
    this.#askMs = askMs
  }

  /** @param maxAgeMs an answer that somebody else was given will do when it is no older; @throws BrokerError */
  of(connection: BrokerConnection, maxAgeMs: number): Promise<Survey> {
    const now = this.#clock.monotonic()
    const last = this.#asked.get(connection)
    if (last && now - last.at <= maxAgeMs) return last.told
    const settingsAt = last && now - last.settingsAt < SETTINGS_MS ? last.settingsAt : now
    const told = this.#ask(connection, last && settingsAt === last.settingsAt ? last.told : undefined)
    const asked = { at: now, told, settingsAt }
    this.#asked.set(connection, asked)
    // One that failed is nobody's answer.
    told.catch(() => {
      if (this.#asked.get(connection) === asked) this.#asked.delete(connection)
    })
    return told
  }

  async #ask(connection: BrokerConnection, before: Promise<Survey> | undefined): Promise<Survey> {
    const settings = await before?.then((told) => told.settings).catch(() => undefined)
    return survey({ store: connection, transport: connection, askMs: this.#askMs }, settings)
  }
}
