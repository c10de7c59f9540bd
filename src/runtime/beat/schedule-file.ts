// The schedule file: what the broker remembers of schedules, once more on a volume, for the day the broker has lost it.
// Written whole, beside the old one, and put in its place: a crash leaves one or the other.
import { open, readFile, rename } from 'node:fs/promises'
import { TaskQueueError, asError } from '../errors.ts'
import type { Cursor } from '../broker/store.ts'
import { isRecord } from '../triggers/schedule.ts'

/** What was read, and what was wrong with it. */
export interface ScheduleFileContent {
  readonly cursors: Map<string, Cursor>
  /** Where a file that couldn't be understood was put aside. */
  readonly setAside: string | undefined
}

/**
 * Reads the file; a missing one is empty, one that can't be understood is kept aside under another name.
 * @throws TaskQueueError `ScheduleFileUnreadable`
 */
export async function readScheduleFile(path: string, now: number): Promise<ScheduleFileContent> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { cursors: new Map(), setAside: undefined }
    throw fileError('ScheduleFileUnreadable', `the schedule file ${path} can't be read`, error)
  }
  const cursors = parse(text)
  if (cursors) return { cursors, setAside: undefined }
  const setAside = `${path}.corrupt-${new Date(now).toISOString().replace(/[:.]/g, '-')}`
  try {
    await rename(path, setAside)
  } catch (error) {
    throw fileError(
      'ScheduleFileUnreadable',
      `the schedule file ${path} can't be understood, nor be kept aside as ${setAside}`,
      error,
    )
  }
  return { cursors: new Map(), setAside }
}

/**
 * Replaces the file.
 * @throws TaskQueueError `ScheduleFileUnwritable`
 */
export async function writeScheduleFile(path: string, cursors: ReadonlyMap<string, Cursor>): Promise<void> {
  const text = `${JSON.stringify({ version: 1, cursors: Object.fromEntries(cursors) }, undefined, 1)}\n`
  const draft = `${path}.new`
  try {
    const file = await open(draft, 'w', 0o644)
    try {
      await file.writeFile(text)
      // Without it a crash of the machine may leave the new name with nothing in it.
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(draft, path)
  } catch (error) {
    throw fileError(
      'ScheduleFileUnwritable',
      `the schedule file ${path} can't be written: its folder must be there and writable (a mounted volume, fsGroup)`,
      error,
    )
  }
}

function parse(text: string): Map<string, Cursor> | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  const cursors: unknown = isRecord(value) && value['version'] === 1 ? value['cursors'] : undefined
  if (!isRecord(cursors)) return undefined
  const read = new Map<string, Cursor>()
  for (const [schedule, cursor] of Object.entries(cursors)) {
    if (!isCursor(cursor)) return undefined
    read.set(schedule, cursor)
  }
  return read
}

function isCursor(value: unknown): value is Cursor {
  if (!isRecord(value)) return false
  const { slot, firedAt, runs, missed, fingerprint } = value
  return (
    [slot, firedAt ?? 0].every(isInstant) &&
    [runs, missed].every(Number.isSafeInteger) &&
    typeof fingerprint === 'string'
  )
}

/** What a Date can hold (ECMA-262, time values). */
function isInstant(value: unknown): boolean {
  return Number.isInteger(value) && Math.abs(Number(value)) <= 8.64e15
}

function fileError(code: string, text: string, error: unknown): TaskQueueError {
  return new TaskQueueError(code, `${text}: ${asError(error).message}`, { cause: error })
}
