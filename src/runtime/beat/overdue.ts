// What a schedule's place in the broker says of its next slot. Pure; for those who look at beat from outside.
import type { Cursor } from '../broker/store.ts'
import { uuid5 } from '../protocol/uuid.ts'
import type { Schedule } from '../triggers/schedule.ts'

/** The last slot of the trigger that the schedule has now. */
export function lastSlotOf(schedule: Schedule | undefined, cursor: Cursor | undefined): number | undefined {
  return cursor?.fingerprint === schedule?.trigger.fingerprint ? cursor?.slot : undefined
}

/** For how many seconds the next slot has been due without having been fired or missed: nobody's beat runs, or it is stuck. */
export function overdueSeconds(schedule: Schedule, cursor: Cursor, now: number): number {
  const { trigger, jitterMs } = schedule
  const last = lastSlotOf(schedule, cursor)
  const slot = last === undefined ? undefined : trigger.next(last)
  const late = slot === undefined ? 0 : Math.floor((now - slot - jitterMs(slot)) / 1000)
  return Math.max(0, late)
}

/** The id of the task of a slot: the same whoever sends it, and however often. */
export function slotTaskId(beat: string, schedule: string, slot: number): string {
  return uuid5(`taskqueue:${beat}/${schedule}/${slot}`)
}
