// What `taskqueue schedule` does.
import type { TaskApp } from '../app.ts'
import { lastSlotOf, overdueSeconds } from '../beat/overdue.ts'
import { SchedulesSource } from '../beat/schedules-source.ts'
import type { Cursor } from '../broker/store.ts'
import { RedisStore } from '../broker/redis/store.ts'
import { TaskQueueError, UsageError } from '../errors.ts'
import type { Schedule } from '../triggers/schedule.ts'
import { printJson, printLine, printTable } from './output.ts'
import { appFor, beatName, sendOptionsOf } from './run-beat.ts'

type Flags = Readonly<Record<string, unknown>>

/** What the commands work on. */
interface Scene {
  readonly app: TaskApp
  readonly source: SchedulesSource
  readonly store: RedisStore
  /** The beat's name in the broker. */
  readonly beat: string
}

/** A schedule as it is listed. */
interface Row {
  readonly name: string
  readonly task: string | null
  readonly trigger: string | null
  readonly lastRun: string | null
  readonly nextRun: string | null
  readonly runs: number
  readonly missed: number
  /** The newest ten, the oldest first. */
  readonly missedSlots: readonly string[]
  /** Seconds from when its last slot was due to when it was sent; null when that slot was not sent. */
  readonly lastLatenessSeconds: number | null
  /** How long its next slot has been due without having been sent or missed. */
  readonly overdueSeconds: number
  readonly paused: boolean
}

/** Joins schedules with what the broker remembers of them. @throws UsageError, BrokerError */
export async function listSchedules(flags: Flags): Promise<void> {
  await withScene(flags, async ({ source, store, beat }) => {
    const rows = await readRows(source, store, beat)
    if (flags['json'] === true) {
      printJson(rows)
      return
    }
    printTable(
      ['NAME', 'TASK', 'WHEN', 'LAST RUN', 'NEXT RUN', 'LATE', 'RUNS', 'MISSED', 'LAST MISSED'],
      rows.map((row) => [
        row.name,
        row.task ?? '(not in these schedules)',
        row.trigger === null ? '' : inWords(row.trigger),
        row.lastRun ?? 'never',
        row.paused ? 'paused' : (row.nextRun ?? 'never'),
        row.overdueSeconds > 0 ? `overdue ${row.overdueSeconds} s` : String(row.lastLatenessSeconds ?? ''),
        String(row.runs),
        String(row.missed),
        row.missedSlots.at(-1) ?? '',
      ]),
      'there are no schedules',
    )
  })
}

/** Sends the task of a schedule now, whatever its slots are. @throws UsageError, BrokerError, TaskQueueError `ScheduleUnknown` */
export async function runSchedule(name: string, flags: Flags): Promise<void> {
  await withScene(flags, async ({ app, source }) => {
    const schedule = source.schedules.find((one) => one.name === name)
    if (!schedule) throw unknown(name, 'give the --schedules or the --app that have it')
    const sent = await app.send(schedule.task, schedule.args, sendOptionsOf(schedule))
    if (flags['json'] === true) printJson({ id: sent.id })
    else printLine(sent.id)
  })
}

/** Pauses a schedule, or lets it go on, within 2 s in every beat. @throws UsageError, BrokerError, TaskQueueError `ScheduleUnknown` */
export async function pauseSchedule(name: string, paused: boolean, flags: Flags): Promise<void> {
  await withScene(flags, async ({ source, store, beat }) => {
    const known = source.schedules.some((one) => one.name === name) || (await store.readCursors(beat)).has(name)
    if (!known) throw unknown(name, `beat ${beat} has not fired it yet: is --name right?`)
    const changed = await store.pauseSchedule(beat, name, paused)
    const state = paused ? 'paused' : 'going on'
    if (flags['json'] === true) printJson({ name, paused, changed })
    else printLine(changed ? `${name} is ${state}` : `${name} was ${state} already`)
  })
}

function unknown(name: string, advice: string): TaskQueueError {
  return new TaskQueueError('ScheduleUnknown', `there is no schedule ${JSON.stringify(name)}: ${advice}`)
}

async function withScene(flags: Flags, run: (scene: Scene) => Promise<void>): Promise<void> {
  const app = await appFor(flags)
  const path = typeof flags['schedules'] === 'string' ? flags['schedules'] : undefined
  const source = new SchedulesSource(path, app.schedules)
  const { problem } = await source.read()
  if (problem !== undefined) throw new UsageError('ScheduleInvalid', problem)
  const { settings } = app
  const store = new RedisStore({ url: settings.brokerUrl, keyPrefix: settings.keyPrefix })
  const beat = beatName(settings, typeof flags['name'] === 'string' ? flags['name'] : app.name)
  try {
    await run({ app, source, store, beat })
  } finally {
    await Promise.all([store.close(), app.close()])
  }
}

/** A trigger's fingerprint for a person. */
function inWords(fingerprint: string): string {
  const [kind, ...rest] = fingerprint.split(' ')
  const text = rest.join(' ')
  if (kind === 'every') return `every ${Number(text) / 1000} s`
  if (kind === 'at') return `at ${new Date(Number(text)).toISOString()}`
  return text
}

/** Seconds from when its last slot was due to when it was sent; null when that slot was not sent. */
function lastLateness({ jitterMs }: Schedule, { slot, firedAt }: Cursor): number | null {
  return firedAt === null || firedAt < slot ? null : Math.max(0, firedAt - slot - jitterMs(slot)) / 1000
}

/** All that is known of the schedules: what they say, and what the broker remembers of them. */
async function readRows(source: SchedulesSource, store: RedisStore, beat: string): Promise<Row[]> {
  const [cursors, missed, paused, time] = [
    await store.readCursors(beat),
    await store.readMissedSlots(beat),
    await store.readPausedSchedules(beat),
    await store.time(),
  ]
  const schedules = new Map(source.schedules.map((schedule) => [schedule.name, schedule]))
  return [...new Set([...schedules.keys(), ...cursors.keys()])].map((name) => {
    const [schedule, cursor] = [schedules.get(name), cursors.get(name)]
    return {
      ...whatItSays(name, schedule, cursor, time.brokerMs),
      lastRun: iso(cursor?.firedAt),
      runs: cursor?.runs ?? 0,
      missed: cursor?.missed ?? 0,
      missedSlots: (missed.get(name) ?? []).map((slot) => new Date(slot).toISOString()),
      lastLatenessSeconds: schedule && cursor ? lastLateness(schedule, cursor) : null,
      overdueSeconds: schedule && cursor && !paused.has(name) ? overdueSeconds(schedule, cursor, time.brokerMs) : 0,
      paused: paused.has(name),
    }
  })
}

function whatItSays(name: string, schedule: Schedule | undefined, cursor: Cursor | undefined, now: number) {
  return {
    name,
    task: schedule?.task ?? null,
    trigger: schedule?.trigger.fingerprint ?? cursor?.fingerprint ?? null,
    // A cursor in the future, of a clock that was wrong, keeps its schedule silent until then.
    nextRun: iso(schedule?.trigger.next(Math.max(now, lastSlotOf(schedule, cursor) ?? now))),
  }
}

function iso(instant: number | null | undefined): string | null {
  return instant ? new Date(instant).toISOString() : null
}
