// Which slots of a schedule are run now and which were missed. Pure: the caller says what time it is.
import type { Schedule } from './schedule.ts'
import type { Trigger } from './trigger.ts'

/** What to do about the slots that are due. */
export interface DueSlots {
  /** To be run, the oldest first. */
  readonly run: readonly number[]
  /** Passed over, but for those that were jumped over: `missedCount` counts all. */
  readonly missed: readonly number[]
  readonly missedCount: number
  /** Where the cursor goes: the last slot that was looked at. Undefined when none is due. */
  readonly last: number | undefined
  /** The slot after `last`; undefined when there is none any more. */
  readonly next: number | undefined
  /** `next` is due as well, and was left for another call: one call takes milliseconds, however long nobody looked. */
  readonly more: boolean
}

/** With catchUp None a slot may still be this late: a beat takes over from another within 10 s. */
const TAKEOVER_MS = 10_000

/** The most slots looked at in one call: 20 ms for cron in a zone. */
const MOST_WALKED = 500
/** The most slots to be run in one call, so that a long burst lets others in between. */
const MOST_RUN = 100
/** Slots that are looked at again after a jump, so that the newest of those missed are known. */
const LISTED_AFTER_JUMP = 100

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
  return { run, ...missing([...missed, ...superseded]), last, next, more: false }

  function unfinished(): DueSlots {
    if (catchUp === 'All' && run.length > 0) return { run, ...missing(missed), last, next, more: true }
    // Of these none is run any more: each is too late, or a later one is due.
    const gone = missing([...missed, ...run])
    const stood = last as number
    const skipped = jumpOver(trigger, stood, catchUp === 'All' ? oldestRun : now)
    if (skipped === 0) return { run: [], ...gone, last: stood, next, more: true }
    const resume = stood + skipped * (trigger.periodMs ?? 0)
    const missedCount = gone.missedCount + skipped
    return { run: [], missed: gone.missed, missedCount, last: resume, next: trigger.next(resume), more: true }
  }
}

/** How many slots after one needn't be looked at, since all before `until` are missed: where they lie evenly they can be counted. */
function jumpOver({ periodMs }: Trigger, slot: number, until: number): number {
  if (periodMs === undefined) return 0
  return Math.max(0, Math.floor((until - slot) / periodMs) - LISTED_AFTER_JUMP)
}

function missing(missed: readonly number[]): Pick<DueSlots, 'missed' | 'missedCount'> {
  return { missed, missedCount: missed.length }
}
