// Cron expressions in a time zone, over croner. Across daylight-saving changes: a job at one fixed time of day runs once a
// day, after the gap when its time is skipped and at the first occurrence when it is repeated; others follow the clock.
import { Cron } from 'croner'
import { UsageError, asError } from '../errors.ts'
import type { Trigger } from './trigger.ts'

/**
 * A trigger from a cron expression of five fields, or six with seconds in front.
 * @param timeZone an IANA name such as Asia/Shanghai; UTC by default, never the machine's own
 * @throws UsageError `CronInvalid`, `ZoneUnknown`, or `CronNeverFires` for a date that doesn't exist
 */
export function parseCron(expression: string, timeZone = 'UTC'): Trigger {
  checkZone(timeZone)
  let parsed: Cron
  try {
    parsed = cronOf(expression, timeZone)
  } catch (error) {
    const why = asError(error).message.replace(/^CronPattern: /, '')
    throw new UsageError(
      'CronInvalid',
      `${JSON.stringify(expression)} is no cron expression: ${why} (minute hour day month weekday, such as "0 3 * * 1-5")`,
    )
  }
  if (parsed.nextRun(new Date()) === null) {
    throw new UsageError('CronNeverFires', `${JSON.stringify(expression)} names a date that never comes`)
  }
  return {
    next: (after) => cronOf(expression, timeZone).nextRun(new Date(after))?.getTime(),
    fingerprint: `cron ${expression.trim().replace(/\s+/g, ' ')} ${timeZone}`,
  }
}

/**
 * The expression parsed last. A parsed one takes 75 KiB, so ten thousand schedules can't have one each; parsing takes 20 µs, and who
 * walks over slots asks for the same again.
 */
let parsedLast: { readonly expression: string; readonly timeZone: string; readonly cron: Cron } | undefined

function cronOf(expression: string, timeZone: string): Cron {
  if (parsedLast?.expression === expression && parsedLast.timeZone === timeZone) return parsedLast.cron
  // An offset spares croner a formatter for each question: UTC is ten times as fast with it.
  const zone = timeZone === 'UTC' ? { utcOffset: 0 } : { timezone: timeZone }
  const cron = new Cron(expression, { ...zone, mode: '5-or-6-parts', paused: true })
  parsedLast = { expression, timeZone, cron }
  return cron
}

/** What is wrong with a cron expression, for a person; undefined when nothing is. */
export function cronProblem(expression: string, timeZone?: string): string | undefined {
  try {
    parseCron(expression, timeZone)
    return undefined
  } catch (error) {
    return asError(error).message
  }
}

/** Zones that were found good: each question costs 10 KiB outside of the heap, which nothing hurries to free. */
const knownZones = new Set<string>()

/** @throws UsageError `ZoneUnknown` */
export function checkZone(timeZone: string): void {
  if (knownZones.has(timeZone)) return
  try {
    new Intl.DateTimeFormat('en', { timeZone })
    knownZones.add(timeZone)
  } catch {
    throw new UsageError(
      'ZoneUnknown',
      `${JSON.stringify(timeZone)} is no time zone; IANA names such as Europe/Berlin are`,
    )
  }
}
