// Notices when somebody sets this machine's clock: the wall clock then moves against the monotonic one. Slewing, which is slow, is none.

import { hostClock, type HostClock } from './hostclock.ts'
import type { Report } from './trouble.ts'

const EVERY_MS = 1000
/** More than this within one look is a step. NTP daemons slew what is less than 0.128 s, or much less. */
const STEP_SECONDS = 0.5
/** When the process was held up between its readings of the two clocks, their difference means nothing. */
const HELD_UP_MS = 100

export interface Steps {
  /** Since the start of this process. */
  readonly count: number
  /** The last one: positive when the clock was set forwards. Null before the first. */
  readonly lastSeconds: number | null
  readonly lastAgeSeconds: number | null
}

export class StepWatch {
  readonly #report: Report
  readonly #onStep: (seconds: number) => void
  readonly #clock: HostClock
  /** Wall clock minus monotonic clock at the last look, in milliseconds. */
  #base: number | undefined
  #count = 0
  #last: { seconds: number; at: number } | undefined

  /** @param onStep called after each step with its size in seconds */
  constructor(report: Report, onStep: (seconds: number) => void, clock: HostClock = hostClock) {
    this.#report = report
    this.#onStep = onStep
    this.#clock = clock
  }

  get steps(): Steps {
    const last = this.#last
    return {
      count: this.#count,
      lastSeconds: last?.seconds ?? null,
      lastAgeSeconds: last ? (this.#clock.monotonic() - last.at) / 1000 : null,
    }
  }

  /** Looks every second until the signal aborts. */
  start(signal: AbortSignal): void {
    this.look()
    const timer = setInterval(() => this.look(), EVERY_MS)
    timer.unref()
    signal.addEventListener('abort', () => clearInterval(timer), { once: true })
  }

  /** One look. */
  look(): void {
    const before = this.#clock.monotonic()
    const wall = this.#clock.wall()
    const at = this.#clock.monotonic()
    if (at - before > HELD_UP_MS) return
    const known = this.#base
    this.#base = wall - at
    if (known === undefined) return
    const seconds = (this.#base - known) / 1000
    if (Math.abs(seconds) <= STEP_SECONDS) return
    this.#count++
    this.#last = { seconds: Math.round(seconds * 1000) / 1000, at }
    const way = seconds > 0 ? 'forwards' : 'backwards'
    this.#report(
      'warn',
      `This machine's clock was set ${way} by ${Math.abs(seconds).toFixed(1)} s: it is measured again.`,
    )
    this.#onStep(seconds)
  }
}
