// Which of the beats fires: the one that holds the lease in the broker. Its token goes into every step, so that a beat that
// was stopped for a while and believes it still holds the lease changes nothing.
import type { LeaseFence, Store } from '../broker/store.ts'
import type { Clock } from '../clock.ts'

/** A beat that is killed is replaced within this and one look: below 10 s. */
export const LEASE_MS = 6000
/** How often the lease is renewed, or asked for. */
export const LOOK_MS = 2000

/** `unknown`: the broker didn't say within the lease's length. */
export type Standing = 'leader' | 'standby' | 'unknown'

export class Leadership {
  readonly #store: Store
  readonly #clock: Clock
  readonly #name: string
  readonly #holder: string
  #fence: LeaseFence | undefined
  #leader = ''
  #askedAt = -Infinity

  constructor(store: Store, clock: Clock, name: string, holder: string) {
    this.#store = store
    this.#clock = clock
    this.#name = name
    this.#holder = holder
  }

  /** Asks for the lease, or renews it. Tells whether it has just become ours. @throws BrokerError */
  async look(): Promise<{ readonly gained: boolean; readonly lost: boolean }> {
    // The lease lasts from when the broker heard us, which is later than this.
    const asked = this.#clock.monotonic()
    const before = this.#fence?.token
    const lease = await this.#store.acquireLease(this.#name, this.#holder, LEASE_MS)
    this.#askedAt = asked
    this.#leader = lease.holder
    this.#fence = lease.held ? { name: this.#name, holder: this.#holder, token: lease.token } : undefined
    return { gained: lease.held && lease.token !== before, lost: before !== undefined && !lease.held }
  }

  /** A step was refused: the lease is another's, whatever we thought. */
  fenced(): void {
    this.#fence = undefined
  }

  /** What a step needs; undefined while we must not fire. */
  get fence(): LeaseFence | undefined {
    return this.standing === 'leader' ? this.#fence : undefined
  }

  get standing(): Standing {
    if (this.#clock.monotonic() - this.#askedAt > LEASE_MS) return 'unknown'
    return this.#fence ? 'leader' : 'standby'
  }

  /** The holder as of the last look. */
  get leader(): string {
    return this.#leader
  }

  async release(): Promise<void> {
    if (!this.#fence) return
    this.#fence = undefined
    await this.#store.releaseLease(this.#name, this.#holder)
  }
}
