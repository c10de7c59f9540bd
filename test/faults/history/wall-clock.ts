// How far the machine's wall clock moves against its monotonic one while a campaign runs. The broker tells what is due by the one, and the history
// is written by the other: on a machine whose clock is set meanwhile, jobs that are on time look early.

import { now, type WallOffset } from './history.ts'

const LOOK_MS = 250

export class WallClock {
  readonly #began = offset()
  readonly #offsets: WallOffset[] = []
  readonly #timer = setInterval(() => this.#look(), LOOK_MS)

  /** Looks no more. @returns what was seen, from the beginning on */
  stop(): readonly WallOffset[] {
    this.#look()
    clearInterval(this.#timer)
    return this.#offsets
  }

  #look(): void {
    this.#offsets.push({ at: now(), movedMs: offset() - this.#began })
  }
}

/** To the microsecond, though Date.now() has milliseconds only: it is read until it turns. */
function offset(): number {
  const before = Date.now()
  for (;;) {
    const wall = Date.now()
    if (wall !== before) return wall - now()
  }
}
