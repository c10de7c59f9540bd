// The broker's time as this process knows it: the last measurement, carried on by the monotonic clock, so that a step of the
// machine's clock in between moves nothing. Not exact, and never used to judge a lease: scripts do that by the broker's own TIME.
import type { Clock } from '../clock.ts'
import type { BrokerTime } from './store.ts'

export class BrokerClock {
  readonly #clock: Clock
  #measured: BrokerTime | undefined
  /** The broker's clock minus the monotonic one. */
  #base = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Whole milliseconds since the epoch on the broker's clock; this machine's while it hasn't been measured. */
  now(): number {
    return Math.round(this.#measured ? this.#base + this.#clock.monotonic() : this.#clock.now())
  }

  /** Takes a measurement over. */
  correct(measured: BrokerTime): void {
    this.#measured = measured
    this.#base = this.#clock.now() - measured.offsetMs - this.#clock.monotonic()
  }

  /** Host clock minus broker clock in seconds, and how far that may be wrong; null before the first measurement. */
  get offset(): { seconds: number | null; errorSeconds: number | null } {
    if (!this.#measured) return { seconds: null, errorSeconds: null }
    return { seconds: this.#measured.offsetMs / 1000, errorSeconds: this.#measured.errorMs / 1000 }
  }
}
