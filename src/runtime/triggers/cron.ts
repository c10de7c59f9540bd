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
  let cron: Cron
  try {
    cron = new Cron(expression, { timezone: timeZone, mode: '5-or-6-parts', paused: true })
  } catch (error) {
    const why = asError(error).message.replace(/^CronPattern: /, '')
    throw new UsageError(
      'CronInvalid',
      `${JSON.stringify(expression)} is no cron expression: ${why} (minute hour day month weekday, such as "0 3 * * 1-5")`,
    )
  }
  if (cron.nextRun(new Date()) === null) {
    throw new UsageError('CronNeverFires', `${JSON.stringify(expression)} names a date that never comes`)
  }
  return {
    next: (after) => cron.nextRun(new Date(after))?.getTime(),
    fingerprint: `cron ${expression.trim().replace(/\s+/g, ' ')} ${timeZone}`,
  }
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

/** @throws UsageError `ZoneUnknown` */
export function checkZone(timeZone: string): void {
  try {
    new Intl.DateTimeFormat('en', { timeZone })
  } catch {
    throw new UsageError(
      'ZoneUnknown',
      `${JSON.stringify(timeZone)} is no time zone; IANA names such as Europe/Berlin are`,
    )
  }
}
