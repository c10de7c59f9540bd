// How long a TaskQueue's status may wait while others' children wait to be written: a thousand changed TaskQueues get their Deployments
// before the first of them is told about. Pure but for what it remembers. Not the writing: that is statuswriter.ts.

import type { ObjectKey } from './objects.ts'

/** A status is at most so old when it is written, whatever else there is to do. Milliseconds. */
const MOST_MS = 2_000
/** When to look again at a TaskQueue whose status waits. */
export const PATIENCE_AGAIN_MS = 500

export class Patience {
  /** When each status that waits began to, on the monotonic clock. */
  readonly #since = new Map<ObjectKey, number>()

  /** Whether the status is to wait. Once it was not, its time begins anew. */
  waits(key: ObjectKey, othersWait: boolean, monotonicNow: number): boolean {
    const since = this.#since.get(key) ?? monotonicNow
    if (!othersWait || monotonicNow - since >= MOST_MS) {
      this.#since.delete(key)
      return false
    }
    this.#since.set(key, since)
    return true
  }

  forget(key: ObjectKey): void {
    this.#since.delete(key)
  }
}
