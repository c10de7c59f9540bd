// Which slots of a schedule are run now and which were missed. Pure: the caller says what time it is.
import type { Schedule } from './schedule.ts'

/** What to do about the slots that are due. */
export interface DueSlots {
  /** To be run, the oldest first. */
  readonly run: readonly number[]
  /** Passed over; at most MISSED_LISTED of the newest, while `missedCount` counts all. */
  readonly missed: readonly number[]
  readonly missedCount: number
  /** The last slot that is due: where the cursor goes. Undefined when none is. */
  readonly last: number | undefined
  /** The slot after the last one that is due; undefined when there is none any more. */
  readonly next: number | undefined
}

export const MISSED_LISTED = 100

/** With catchUp None a slot may still be this late: a beat takes over from another within 10 s. */
export const TAKEOVER_MS = 10_000

/** The most slots walked through one by one; beyond that the oldest are counted by estimate of the walk's own pace. */
const MOST_WALKED = 100_000

/**
 * Decides about the slots after `cursor` and up to `now`.
 * Last runs the latest of them, All each, None only one that isn't late; none of them a slot later than the grace time.
 */
export function dueSlots(
  schedule: Pick<Schedule, 'trigger' | 'catchUp' | 'misfireGraceSeconds'> & Partial<Pick<Schedule, 'jitterMs'>>,
  cursor: number,
  now: number,
): DueSlots {
  const graceMs = schedule.misfireGraceSeconds * 1000
  const oldestRun = now - (schedule.catchUp === 'None' ? Math.min(graceMs, TAKEOVER_MS) : graceMs)
  const run: number[] = []
  const missed: number[] = []
  let missedCount = 0
  let last: number | undefined
  let next: number | undefined
  const miss = (slot: number): void => {
    missedCount += 1
    missed.push(slot)
    if (missed.length > MISSED_LISTED) missed.shift()
  }
  let walked = 0
  let at = cursor
  for (;;) {
    const slot = schedule.trigger.next(at)
    next = slot
    if (slot === undefined) break
    const dueAt = slot + (schedule.jitterMs?.(slot) ?? 0)
    // In order: a slot never overtakes the one before it, however their jitter falls.
    if (dueAt > now) break
    at = slot
    last = slot
    walked += 1
    if (dueAt < oldestRun) miss(slot)
    else run.push(slot)
    if (walked === MOST_WALKED) {
      // A schedule of seconds after months of downtime: skip ahead to what may still be run.
      const pace = (slot - cursor) / walked
      const resume = Math.max(slot, oldestRun - 1)
      missedCount += Math.floor((resume - slot) / pace)
      at = resume
      last = resume
    }
  }
  if (schedule.catchUp === 'All') return { run, missed, missedCount, last, next }
  for (const slot of run.slice(0, -1)) miss(slot)
  return { run: run.slice(-1), missed, missedCount, last, next }
}
