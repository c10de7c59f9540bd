// The broker's time as this process knows it: the machine's clock, corrected by the last measurement. Not exact, and never
// used to judge a lease: scripts do that by the broker's own TIME.
import type { Clock } from '../clock.ts'
import type { BrokerTime } from './store.ts'

export class BrokerClock {
  readonly #clock: Clock
  #measured: BrokerTime | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Whole milliseconds since the epoch on the broker's clock; this machine's while it hasn't been measured. */
  now(): number {
    return Math.round(this.#clock.now() - (this.#measured?.offsetMs ?? 0))
  }

  /** Takes a measurement over. */
  correct(measured: BrokerTime): void {
    this.#measured = measured
  }

  /** Host clock minus broker clock in seconds, and how far that may be wrong; null before the first measurement. */
  get offset(): { seconds: number | null; errorSeconds: number | null } {
    if (!this.#measured) return { seconds: null, errorSeconds: null }
    return { seconds: this.#measured.offsetMs / 1000, errorSeconds: this.#measured.errorMs / 1000 }
  }
}
