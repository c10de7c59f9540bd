// What `taskqueue schedule` does.
import { SchedulesSource } from '../beat/schedules-source.ts'
import { RedisStore } from '../broker/redis/store.ts'
import { UsageError } from '../errors.ts'
import { printJson, printTable } from './output.ts'
import { appFor, beatName } from './run-beat.ts'

/** Joins schedules with what the broker remembers of them. @throws UsageError, BrokerError */
export async function listSchedules(flags: Record<string, unknown>): Promise<void> {
  const app = await appFor(flags)
  const path = typeof flags['schedules'] === 'string' ? flags['schedules'] : undefined
  const source = new SchedulesSource(path, app.schedules)
  const { problem } = await source.read()
  if (problem !== undefined) throw new UsageError('ScheduleInvalid', problem)
  const { settings } = app
  const store = new RedisStore({ url: settings.brokerUrl, keyPrefix: settings.keyPrefix })
  try {
    const [cursors, time] = [
      await store.readCursors(beatName(settings, typeof flags['name'] === 'string' ? flags['name'] : app.name)),
      await store.time(),
    ]
    const iso = (instant: number | null | undefined): string | null =>
      instant ? new Date(instant).toISOString() : null
    const names = new Set([...source.schedules.map(({ name }) => name), ...cursors.keys()])
    const rows = [...names].map((name) => {
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
      }
    })
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
        row.nextRun ?? 'never',
        String(row.runs),
        String(row.missed),
      ]),
      'there are no schedules',
    )
  } finally {
    await Promise.all([store.close(), app.close()])
  }
}
