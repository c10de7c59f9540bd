// Leader election by a Lease, after client-go: expiry is judged by watching the Lease for unchanged content on our own monotonic
// clock, never by comparing clocks. Not a fence: a leader that finds that it may have lost stops at once.

import type { Clock } from '../clock.ts'
import { isConflict, messageOf } from '../errors.ts'
import type { KubeObject } from '../objects.ts'
import type { KubeClient } from './client.ts'
import { leases } from './resources.ts'

interface LeaseObject extends KubeObject {
  spec?: {
    holderIdentity?: string | null
    leaseDurationSeconds?: number
    acquireTime?: string
    renewTime?: string
    leaseTransitions?: number
  }
}

export interface LeaseOptions {
  namespace: string
  name: string
  identity: string
  /** A Lease unchanged for so long may be taken. */
  durationMs?: number
  /** A leader that could not renew for so long stands down: at the latest one pause and one attempt before `durationMs`. */
  renewDeadlineMs?: number
  retryMs?: number
}

/** An API server that is slower than this is as good as away: another may be able to reach it. */
const ATTEMPT_MS = 4_000
const FIELD_MANAGER = 'taskqueue-operator'

export class LeaderLease {
  readonly #client: KubeClient
  readonly #clock: Clock
  readonly #options: Required<LeaseOptions>
  readonly #onTrouble: (message: string) => void
  #seen: { version: string; at: number } | undefined

  constructor(client: KubeClient, clock: Clock, options: LeaseOptions, onTrouble: (message: string) => void) {
    this.#client = client
    this.#clock = clock
    this.#options = { durationMs: 15_000, renewDeadlineMs: 8_000, retryMs: 2_000, ...options }
    this.#onTrouble = onTrouble
  }

  /** Resolves when the Lease is ours; rejects only when the signal aborts. */
  async acquire(signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted()
      if (await this.#tryTake()) return
      await this.#clock.sleep(this.#options.retryMs, signal)
    }
  }

  /** Renews until the signal aborts, and resolves then; resolves early with `lost` when leadership can't be kept. */
  async hold(signal: AbortSignal): Promise<'ended' | 'lost'> {
    let renewed = this.#clock.monotonic()
    for (;;) {
      await this.#clock.sleep(this.#options.retryMs, signal)
      if (signal.aborted) return 'ended'
      if (await this.#tryTake()) renewed = this.#clock.monotonic()
      else if (this.#clock.monotonic() - renewed > this.#options.renewDeadlineMs) return 'lost'
    }
  }

  /** Gives the Lease up, so that another takes over at once. */
  async release(): Promise<void> {
    const { namespace, name, identity } = this.#options
    try {
      const lease = await this.#client.get<LeaseObject>(leases, namespace, name)
      if (lease?.spec?.holderIdentity !== identity) return
      await this.#client.replace(
        {
          ...lease,
          spec: { ...lease.spec, holderIdentity: '', renewTime: this.#microTime(), leaseDurationSeconds: 1 },
        },
        FIELD_MANAGER,
      )
    } catch (error) {
      this.#onTrouble(`the leader lease could not be released, another waits it out: ${messageOf(error)}`)
    }
  }

  async #tryTake(): Promise<boolean> {
    const { namespace, name, identity, durationMs } = this.#options
    const signal = AbortSignal.timeout(ATTEMPT_MS)
    try {
      const lease = await this.#client.get<LeaseObject>(leases, namespace, name, signal)
      if (!lease) {
        await this.#client.create(this.#claim(undefined), FIELD_MANAGER, signal)
        return true
      }
      const version = lease.metadata.resourceVersion ?? ''
      const now = this.#clock.monotonic()
      if (this.#seen?.version !== version) this.#seen = { version, at: now }
      const holder = lease.spec?.holderIdentity ?? ''
      if (holder !== '' && holder !== identity && now - this.#seen.at < durationMs) return false
      await this.#client.replace(this.#claim(lease), FIELD_MANAGER, signal)
      return true
    } catch (error) {
      // A conflict is another who was faster.
      if (!isConflict(error)) this.#onTrouble(`the leader lease could not be read or written: ${messageOf(error)}`)
      return false
    }
  }

  #claim(lease: LeaseObject | undefined): LeaseObject {
    const { namespace, name, identity, durationMs } = this.#options
    const now = this.#microTime()
    const mine = lease?.spec?.holderIdentity === identity
    return {
      apiVersion: leases.apiVersion,
      kind: leases.kind,
      metadata: lease?.metadata ?? { namespace, name },
      spec: {
        holderIdentity: identity,
        leaseDurationSeconds: durationMs / 1000,
        acquireTime: (mine ? lease.spec?.acquireTime : undefined) ?? now,
        renewTime: now,
        leaseTransitions: (lease?.spec?.leaseTransitions ?? 0) + (lease !== undefined && !mine ? 1 : 0),
      },
    }
  }

  /** A Lease's times have microseconds; the API server refuses others. */
  #microTime(): string {
    return this.#clock.now().toISOString().replace('Z', '000Z')
  }
}
