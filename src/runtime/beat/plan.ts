// What a beat does about one schedule at one moment. Pure: cursors and time come in, moves of the cursor come out.
import type { Cursor } from '../broker/store.ts'
import { dueSlots } from '../triggers/misfire.ts'
import type { Schedule } from '../triggers/schedule.ts'

/** One move of the cursor; `run` when the slot it moves to is published. */
export interface Move {
  readonly to: number
  readonly run: boolean
  /** Slots passed over on the way. */
  readonly missed: number
  /** The newest of these, the oldest first. */
  readonly missedSlots: readonly number[]
}

export interface Plan {
  /** The broker's cursor that the first move compares with; null when it has none. */
  readonly from: number | null
  readonly moves: readonly Move[]
  /** When to look at it again: when the next slot after the moves is due, its jitter included; undefined when there is none any more. */
  readonly next: number | undefined
  /** How far the last slot lies in the future, in milliseconds: a clock was wrong, or is. 0 when it doesn't. */
  readonly aheadMs: number
}

/** What broker and schedule file remember of a schedule. */
export interface KnownCursors {
  readonly broker: Cursor | undefined
  readonly file: Cursor | undefined
}

/** Missed slots of one move that are told by name. */
const MISSED_LISTED = 100
const NOTHING_MISSED = { missed: 0, missedSlots: [] } as const

/**
 * Plans; when very many slots are due, for the first of them, and `next` is now.
 * @param known the later one counts, so that a broker that was emptied re-runs nothing
 * @param now the broker's clock, in milliseconds since the epoch
 * @param paused its slots pass unnoticed: none is run, none is missed, and none is owed when it goes on
 */
export function planSchedule(schedule: Schedule, known: KnownCursors, now: number, paused = false): Plan {
  const from = known.broker?.slot ?? null
  const cursor = lastSlot(schedule, known)
  if (cursor === undefined) return begin(schedule, known, now, paused)
  const due = dueSlots(schedule, cursor, now)
  const next = due.more ? now : dueAt(schedule, due.next)
  const aheadMs = Math.max(0, cursor - now)
  if (paused) {
    const moves = due.last === undefined ? [] : [{ to: due.last, run: false, ...NOTHING_MISSED }]
    return { from, moves, next, aheadMs }
  }
  // The first move takes what was missed along.
  const passed = { missed: due.missedCount, missedSlots: due.missed.slice(-MISSED_LISTED) }
  const moves: Move[] = due.run.map((slot, i) => ({ to: slot, run: true, ...(i === 0 ? passed : NOTHING_MISSED) }))
  if (moves.length === 0 && due.last !== undefined) moves.push({ to: due.last, run: false, ...passed })
  // Only the file knows it: the broker learns it again, so that it is seen to be no new one.
  if (moves.length === 0 && from === null && aheadMs === 0) moves.push({ to: cursor, run: false, ...NOTHING_MISSED })
  return { from, moves, next, aheadMs }
}

/** The last slot of its trigger that is known of; undefined when there is none. */
function lastSlot({ trigger }: Schedule, { broker, file }: KnownCursors): number | undefined {
  const slots = [broker, file].flatMap((one) => (one?.fingerprint === trigger.fingerprint ? [one.slot] : []))
  return slots.length === 0 ? undefined : Math.max(...slots)
}

/**
 * Seen for the first time, or edited: its past is not ours to catch up with, and the mark makes later downtime visible. Only a date
 * that has just passed is owed, unless its name was followed beyond it: nobody knows then whether it has run, so it is missed.
 */
function begin(schedule: Schedule, known: KnownCursors, now: number, paused: boolean): Plan {
  const { date } = schedule.trigger
  const from = known.broker?.slot ?? null
  const start = Math.floor(now) === from ? from + 1 : Math.floor(now)
  if (date === undefined || date > now) {
    const moves = [{ to: start, run: false, ...NOTHING_MISSED }]
    return { from, moves, next: dueAt(schedule, schedule.trigger.next(start)), aheadMs: 0 }
  }
  const followed = Math.max(known.broker?.slot ?? -Infinity, known.file?.slot ?? -Infinity)
  if (followed >= date) {
    const moves = [{ to: start, run: false, missed: 1, missedSlots: [date] }]
    return { from, moves, next: undefined, aheadMs: 0 }
  }
  const { fingerprint } = schedule.trigger
  const before: Cursor = { slot: date - 1, firedAt: null, runs: 0, missed: 0, fingerprint }
  return { ...planSchedule(schedule, { broker: undefined, file: before }, now, paused), from }
}

function dueAt({ jitterMs }: Schedule, slot: number | undefined): number | undefined {
  return slot === undefined ? undefined : slot + jitterMs(slot)
}
