// Which slots of a schedule are run now and which were missed. Pure: the caller says what time it is.
import type { Schedule } from './schedule.ts'

/** What to do about the slots that are due. */
export interface DueSlots {
  /** To be run, the oldest first. */
  readonly run: readonly number[]
  /** Passed over; at most MISSED_LISTED of the newest, while `missedCount` counts all. */
  readonly missed: readonly number[]
  readonly missedCount: number
  /** Where the cursor goes: the last slot that was looked at. Undefined when none is due. */
  readonly last: number | undefined
  /** The slot after `last`; undefined when there is none any more. */
  readonly next: number | undefined
  /** `next` is due as well, and was left for another call: one call takes milliseconds, however long nobody looked. */
  readonly more: boolean
}

export const MISSED_LISTED = 100

/** With catchUp None a slot may still be this late: a beat takes over from another within 10 s. */
export const TAKEOVER_MS = 10_000

/** The most slots looked at in one call: 20 ms for cron in a zone. */
export const MOST_WALKED = 500
/** The most slots to be run in one call, so that a long burst lets others in between. */
export const MOST_RUN = 100
/** More slots than this that can't be run any more are counted by the pace of those before them, not one by one. */
const MOST_COUNTED = 100_000

type Followed = Pick<Schedule, 'trigger' | 'catchUp' | 'misfireGraceSeconds'> & Partial<Pick<Schedule, 'jitterMs'>>

/**
 * Decides about the slots after `cursor` and up to `now`, or about the first of them when they are many.
 * Last runs the latest of them, All each, None only one that isn't late; none of them a slot later than the grace time.
 */
export function dueSlots(schedule: Followed, cursor: number, now: number): DueSlots {
  const { trigger, catchUp } = schedule
  const graceMs = schedule.misfireGraceSeconds * 1000
  const oldestRun = now - (catchUp === 'None' ? Math.min(graceMs, TAKEOVER_MS) : graceMs)
  const run: number[] = []
  const missed: number[] = []
  let last: number | undefined
  let next = trigger.next(cursor)
  let walked = 0
  while (next !== undefined) {
    const dueAt = next + (schedule.jitterMs?.(next) ?? 0)
    // In order: a slot never overtakes the one before it, however their jitter falls.
    if (dueAt > now) break
    if (walked === MOST_WALKED || (catchUp === 'All' && run.length === MOST_RUN)) return unfinished()
    ;(dueAt < oldestRun ? missed : run).push(next)
    walked += 1
    last = next
    next = trigger.next(next)
  }
  // Those that are not late come after those that are.
  const superseded = catchUp === 'All' ? [] : run.splice(0, run.length - 1)
  return { run, ...listed([...missed, ...superseded]), last, next, more: false }

  function unfinished(): DueSlots {
    const stood = last as number
    if (catchUp === 'All' && run.length > 0) return { run, ...listed(missed), last: stood, next, more: true }
    // Of these none is run any more: each is too late, or a later one is due.
    const gone = listed([...missed, ...run])
    const pace = (stood - cursor) / walked
    const resume = Math.floor((catchUp === 'All' ? oldestRun : now) - MISSED_LISTED * pace)
    const skipped = Math.floor((resume - stood) / pace)
    if (skipped <= MOST_COUNTED) return { run: [], ...gone, last: stood, next, more: true }
    const after = trigger.next(resume)
    return { run: [], ...gone, missedCount: gone.missedCount + skipped, last: resume, next: after, more: true }
  }
}

function listed(missed: readonly number[]): Pick<DueSlots, 'missed' | 'missedCount'> {
  return { missed: missed.slice(-MISSED_LISTED), missedCount: missed.length }
}
