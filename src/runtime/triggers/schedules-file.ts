// A schedules file: YAML around schedules. Apart from schedule.ts, so that an app that has no file needs no YAML.
import { CORE_SCHEMA, loadAll } from 'js-yaml'
import { UsageError, asError } from '../errors.ts'
import { checkZone } from './cron.ts'
import { isRecord, parseSchedules, type Schedule } from './schedule.ts'

/**
 * Reads a schedules file: YAML with a list `schedules:` and, optionally, `timeZone:`. A file without the list is refused: it may be one
 * that is just being written. `schedules: []` says that there are none.
 * @throws UsageError `ScheduleInvalid`
 */
export function parseSchedulesFile(text: string): Schedule[] {
  let file: unknown
  try {
    // Without YAML 1.1's timestamps: a date is text, which says its offset.
    const documents = loadAll(text, { schema: CORE_SCHEMA })
    if (documents.length > 1) throw new Error('it has several documents')
    file = documents[0]
  } catch (error) {
    throw new UsageError('ScheduleInvalid', `the schedules file is not YAML: ${asError(error).message}`, {
      cause: error,
    })
  }
  const none = file === null || file === undefined
  if (!none && !isRecord(file))
    throw new UsageError('ScheduleInvalid', 'the schedules file is not a mapping with a list "schedules:"')
  const fields: Record<string, unknown> = isRecord(file) ? file : {}
  const stray = Object.keys(fields).find((key) => key !== 'schedules' && key !== 'timeZone')
  if (stray !== undefined)
    throw new UsageError('ScheduleInvalid', `the schedules file has a field ${stray}; schedules and timeZone are known`)
  const { schedules, timeZone = 'UTC' } = fields
  if (schedules === null || schedules === undefined)
    throw new UsageError(
      'ScheduleInvalid',
      'the schedules file has no list "schedules:"; "schedules: []" says that there are none',
    )
  if (!Array.isArray(schedules)) throw new UsageError('ScheduleInvalid', '"schedules" is not a list')
  if (typeof timeZone !== 'string') throw new UsageError('ScheduleInvalid', '"timeZone" is not text')
  checkZone(timeZone)
  return parseSchedules(schedules as unknown[], timeZone)
}
