// Tells a long task that holds the event loop from a process that is stuck. Pure: turns of the loop, tasks and the time come in.
import type { RunningTask } from './loop-notes.ts'
import type { Health } from './server.ts'

/** How often the main thread notes that its loop turns, and the watchdog looks. Milliseconds. */
export const TURN_MS = 500
/** A loop that has been silent for so long is held. */
const HELD_MS = 3 * TURN_MS
/** So many tasks are named in an answer. */
const MOST_NAMED = 5

/** For how long the loop has been held, counted only in steps that the watchdog could take itself: a process that was stopped is not held. */
export class LoopWatch {
  #turns: number | undefined
  #at = 0
  #heldMs = 0

  /**
   * Looks again.
   * @param now milliseconds that only go on
   * @returns `stoppedMs`: for how long the whole process seems to have been stopped since the last look
   */
  look(turns: number, now: number): { heldMs: number; stoppedMs: number } {
    const passed = this.#turns === undefined ? 0 : now - this.#at
    const counted = Math.min(passed, 2 * TURN_MS)
    this.#heldMs = turns === this.#turns ? this.#heldMs + counted : 0
    this.#turns = turns
    this.#at = now
    return { heldMs: this.#heldMs, stoppedMs: passed - counted }
  }
}

/**
 * Whether the process is alive.
 * @param own what it says itself, for as long as its loop turns
 * @param noTaskMs for how long the loop may be held while no task runs
 */
export function judgeLoop(heldMs: number, running: readonly RunningTask[], own: Health, noTaskMs: number): Health {
  if (heldMs < HELD_MS) return own
  const held = `the event loop is held for ${seconds(heldMs)} s`
  const detail = {
    heldSeconds: seconds(heldMs),
    tasks: running.slice(0, MOST_NAMED).map(({ task, id, ranMs, limitMs }) => {
      return { task, id, seconds: seconds(ranMs), limitSeconds: limitMs === Infinity ? null : limitMs / 1000 }
    }),
  }
  const [last] = running
  if (!last) return { ok: heldMs <= noTaskMs, message: `${held}, and no task runs`, detail }
  const who =
    running.length === 1
      ? `by ${last.task} (${last.id})`
      : `by one of ${running.length} tasks, of which ${last.task} (${last.id}) began last`
  // Any of them may be the one that holds it: as long as one has time left this may be its work.
  const ok = running.some(({ ranMs, limitMs }) => ranMs <= limitMs)
  const limit = last.limitMs === Infinity ? 'it has no limit' : `its limit is ${last.limitMs / 1000} s`
  return { ok, message: `${held}, ${who}, which runs for ${seconds(last.ranMs)} s; ${limit}`, detail }
}

function seconds(milliseconds: number): number {
  return Math.round(milliseconds / 100) / 10
}
