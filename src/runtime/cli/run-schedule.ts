// What `taskqueue schedule` does.
import type { TaskApp } from '../app.ts'
import { SchedulesSource } from '../beat/schedules-source.ts'
import { RedisStore } from '../broker/redis/store.ts'
import { TaskQueueError, UsageError } from '../errors.ts'
import { printJson, printLine, printTable } from './output.ts'
import { appFor, beatName } from './run-beat.ts'

type Flags = Readonly<Record<string, unknown>>

/** What the commands work on. */
interface Scene {
  readonly app: TaskApp
  readonly source: SchedulesSource
  readonly store: RedisStore
  /** The beat's name in the broker. */
  readonly beat: string
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
      ['NAME', 'TASK', 'WHEN', 'LAST RUN', 'NEXT RUN', 'RUNS', 'MISSED'],
      rows.map((row) => [
        row.name,
        row.task ?? '(not in these schedules)',
        row.trigger ?? '',
        row.lastRun ?? 'never',
        row.paused ? 'paused' : (row.nextRun ?? 'never'),
        String(row.runs),
        String(row.missed),
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
    const { task, args, kwargs, queue, priority } = schedule
    const sent = await app.send(task, args, {
      kwargs,
      ...(queue === undefined ? {} : { queue }),
      ...(priority === undefined ? {} : { priority }),
    })
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

async function readRows(source: SchedulesSource, store: RedisStore, beat: string) {
  const [cursors, paused, time] = [
    await store.readCursors(beat),
    await store.readPausedSchedules(beat),
    await store.time(),
  ]
  const iso = (instant: number | null | undefined): string | null => (instant ? new Date(instant).toISOString() : null)
  const names = new Set([...source.schedules.map(({ name }) => name), ...cursors.keys()])
  return [...names].map((name) => {
    const schedule = source.schedules.find((one) => one.name === name)
    const cursor = cursors.get(name)
    return {
      name,
      task: schedule?.task ?? null,
      trigger: schedule?.trigger.fingerprint ?? cursor?.fingerprint ?? null,
      lastRun: iso(cursor?.firedAt),
      nextRun: iso(schedule?.trigger.next(time.brokerMs)),
      runs: cursor?.runs ?? 0,
      missed: cursor?.missed ?? 0,
      paused: paused.has(name),
    }
  })
}
