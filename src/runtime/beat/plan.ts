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
  /** The newest of the slots that were missed, for the log. */
  readonly missedSlots: readonly number[]
  readonly missedCount: number
  /** When the next slot after the moves is due, its jitter included; undefined when there is none any more. */
  readonly next: number | undefined
}

const NOTHING_MISSED = { missed: 0, missedSlots: [] } as const

/**
 * Plans.
 * @param known what broker and schedule file remember; the later one counts, so that a broker that was emptied re-runs nothing
 * @param now the broker's clock, in milliseconds since the epoch
 * @param paused its slots pass unnoticed: none is run, none is missed, and none is owed when it goes on
 */
export function planSchedule(
  schedule: Schedule,
  known: { readonly broker: Cursor | undefined; readonly file: Cursor | undefined },
  now: number,
  paused = false,
): Plan {
  const { fingerprint } = schedule.trigger
  const from = known.broker?.slot ?? null
  const slots = [known.broker, known.file]
    .filter((cursor) => cursor?.fingerprint === fingerprint)
    .map((cursor) => cursor?.slot ?? 0)
  const { date } = schedule.trigger
  if (slots.length === 0 && date !== undefined && date <= now) slots.push(date - 1)
  if (slots.length === 0) {
    // Seen for the first time, or edited: its past is not ours to catch up with. The mark makes later downtime visible.
    const start = Math.floor(now) === from ? from + 1 : Math.floor(now)
    const moves = [{ to: start, run: false, ...NOTHING_MISSED }]
    return { from, moves, missedSlots: [], missedCount: 0, next: dueAt(schedule, schedule.trigger.next(start)) }
  }
  const cursor = Math.max(...slots)
  const due = dueSlots(schedule, cursor, now)
  const next = dueAt(schedule, due.next)
  if (paused) {
    const moves = due.last === undefined ? [] : [{ to: due.last, run: false, ...NOTHING_MISSED }]
    return { from, moves, missedSlots: [], missedCount: 0, next }
  }
  // The first move takes what was missed along.
  const passed = { missed: due.missedCount, missedSlots: due.missed }
  const moves: Move[] = due.run.map((slot, i) => ({ to: slot, run: true, ...(i === 0 ? passed : NOTHING_MISSED) }))
  if (moves.length === 0 && due.last !== undefined) moves.push({ to: due.last, run: false, ...passed })
  return {
    from,
    moves,
    missedSlots: due.missed,
    missedCount: due.missedCount,
    next,
  }
}

function dueAt({ jitterMs }: Schedule, slot: number | undefined): number | undefined {
  return slot === undefined ? undefined : slot + jitterMs(slot)
}
