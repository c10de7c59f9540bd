// How far the machine's wall clock moves against its monotonic one while a campaign runs. The broker tells what is due by the one, and the history
// is written by the other: on a machine whose clock is set meanwhile, jobs that are on time look early.

import { now, type WallOffset } from './history.ts'

const LOOK_MS = 250
/** A reading that takes longer was interrupted, and says nothing. Milliseconds. */
const QUICK_MS = 0.05
const TRIES = 5

export class WallClock {
  readonly #began: number
  readonly #offsets: WallOffset[] = []
  readonly #timer: NodeJS.Timeout

  constructor() {
    this.#began = offset() ?? Date.now() - now()
    this.#offsets.push({ at: now(), movedMs: 0 })
    this.#timer = setInterval(() => this.look(), LOOK_MS)
  }

  /** Looks now. @returns what was seen from the beginning on */
  look(): readonly WallOffset[] {
    const read = offset()
    if (read !== undefined) this.#offsets.push({ at: now(), movedMs: read - this.#began })
    return this.#offsets
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}

/** Finer than Date.now(), which has milliseconds only: it is read until it turns. Nothing when the machine is too busy to tell. */
function offset(): number | undefined {
  for (let i = 0; i < TRIES; i++) {
    // It turned after the reading before the last, and so after what was the time before that.
    let before = now()
    const first = Date.now()
    for (let wall = first; wall === first;) {
      const next = now()
      wall = Date.now()
      const at = now()
      if (wall !== first && at - before < QUICK_MS) return wall - at
      before = next
    }
  }
  return undefined
}
