// How far the machine's wall clock moves against its monotonic one while a campaign runs. The broker tells what is due by the one, and the history
// is written by the other: a machine whose clock is set meanwhile has jobs that look early and leases that look short.

import { now } from './history.ts'

const LOOK_MS = 100

export class WallClock {
  readonly #began = offset()
  #least = 0
  #most = 0
  readonly #timer = setInterval(() => this.#look(), LOOK_MS)

  /** @returns between which bounds it moved, in milliseconds */
  stop(): readonly [least: number, most: number] {
    this.#look()
    clearInterval(this.#timer)
    return [this.#least, this.#most]
  }

  #look(): void {
    const moved = offset() - this.#began
    this.#least = Math.min(this.#least, moved)
    this.#most = Math.max(this.#most, moved)
  }
}

/** The largest of a few readings: those between whose two clocks the process was interrupted are too small. To the millisecond. */
function offset(): number {
  return Math.max(...Array.from({ length: 5 }, () => Date.now() - now()))
}
