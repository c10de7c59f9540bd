// Schedules as people write them, in a TaskQueue, in a schedules file or in an app, checked and with their defaults filled in.
import { UsageError, asError } from '../errors.ts'
import { parseAt } from './at.ts'
import { parseCron } from './cron.ts'
import { parseEvery } from './every.ts'
import { jitterOf } from './jitter.ts'
import type { Trigger } from './trigger.ts'

/** What happens to slots that passed while no beat ran: only the latest, each, or none is run. */
export type CatchUp = 'Last' | 'All' | 'None'

/** A schedule, ready to be followed. */
export interface Schedule {
  readonly name: string
  readonly task: string
  readonly trigger: Trigger
  /** Milliseconds from a slot until it is due: its jitter. */
  readonly jitterMs: (slot: number) => number
  /** The app's default queue when undefined. */
  readonly queue: string | undefined
  readonly priority: number | undefined
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
  /** A slot that is later than this is missed, not run. Default 300. */
  readonly misfireGraceSeconds: number
  /** Default Last. */
  readonly catchUp: CatchUp
  /** As it was written. */
  readonly source: unknown
}

export const DEFAULT_MISFIRE_GRACE_SECONDS = 300
const MOST_JITTER_SECONDS = 86_400
/** A leap year begins, so that each date comes. */
const GAPS_FROM = Date.UTC(2028, 0, 1) - 1
/** Enough for the times of a day, whatever they are. */
const GAPS_COMPARED = 100
const GAPS_KEPT = 1000

const FIELDS = new Set([
  'name',
  'task',
  'cron',
  'everySeconds',
  'at',
  'jitterSeconds',
  'timeZone',
  'queue',
  'priority',
  'args',
  'kwargs',
  'misfireGraceSeconds',
  'catchUp',
])
const NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/

/**
 * Checks a list of schedules.
 * @param timeZone for schedules without one of their own; UTC by default
 * @throws UsageError `ScheduleInvalid` naming the schedule and the field; `cause.code` has the detail, such as CronInvalid
 */
export function parseSchedules(list: readonly unknown[], timeZone = 'UTC'): Schedule[] {
  const seen = new Set<string>()
  return list.map((source, i) => {
    const schedule = parseSchedule(source, i, timeZone)
    if (seen.has(schedule.name)) throw new UsageError('ScheduleInvalid', `two schedules are named ${schedule.name}`)
    seen.add(schedule.name)
    return schedule
  })
}

function parseSchedule(source: unknown, index: number, timeZone: string): Schedule {
  const at =
    isRecord(source) && typeof source['name'] === 'string'
      ? `schedule ${source['name']}`
      : `schedule number ${index + 1}`
  try {
    return readSchedule(source, timeZone)
  } catch (error) {
    throw new UsageError('ScheduleInvalid', `${at}: ${asError(error).message}`, { cause: error })
  }
}

function readSchedule(source: unknown, defaultZone: string): Schedule {
  if (!isRecord(source)) throw new UsageError('ScheduleInvalid', 'it is not a mapping')
  const stray = Object.keys(source).find((key) => !FIELDS.has(key))
  if (stray !== undefined)
    throw new UsageError('ScheduleInvalid', `the field ${stray} is not known; known are ${[...FIELDS].join(', ')}`)
  const name = text(source, 'name')
  if (name === undefined || !NAME.test(name)) {
    throw new UsageError('ScheduleInvalid', 'it needs a name of 1 to 63 letters, digits, dots, dashes and underscores')
  }
  const task = text(source, 'task')
  if (task === undefined) throw new UsageError('ScheduleInvalid', 'it needs a task')
  const catchUp = text(source, 'catchUp') ?? 'Last'
  if (catchUp !== 'Last' && catchUp !== 'All' && catchUp !== 'None') {
    throw new UsageError('ScheduleInvalid', `catchUp is Last, All or None; got ${catchUp}`)
  }
  const { args = [], kwargs = {} } = source
  if (!Array.isArray(args)) throw new UsageError('ScheduleInvalid', 'args is not a list')
  if (!isRecord(kwargs)) throw new UsageError('ScheduleInvalid', 'kwargs is not a mapping')
  const trigger = readTrigger(source, defaultZone)
  return {
    name,
    task,
    trigger,
    jitterMs: jitterOf(name, readJitter(source, trigger)),
    queue: text(source, 'queue'),
    priority: numberIn(source, 'priority', 0, 9),
    args,
    kwargs,
    misfireGraceSeconds: numberIn(source, 'misfireGraceSeconds', 0, 366 * 86_400) ?? DEFAULT_MISFIRE_GRACE_SECONDS,
    catchUp,
    source,
  }
}

function readTrigger(source: Record<string, unknown>, defaultZone: string): Trigger {
  const { cron, everySeconds, at } = source
  if ([cron, everySeconds, at].filter((one) => one !== undefined).length !== 1) {
    throw new UsageError('ScheduleInvalid', 'it needs one of cron, everySeconds and at')
  }
  if (at !== undefined) return readDate(at)
  if (everySeconds !== undefined) {
    if (typeof everySeconds !== 'number') throw new UsageError('IntervalInvalid', 'everySeconds is not a number')
    return parseEvery(everySeconds)
  }
  if (typeof cron !== 'string') throw new UsageError('CronInvalid', 'cron is not text: put it in quotes')
  return parseCron(cron, text(source, 'timeZone') ?? defaultZone)
}

/** In milliseconds. A slot that came due after the next one would be missed, though beat runs. */
function readJitter(source: Record<string, unknown>, { periodMs }: Trigger): number {
  const jitterMs = Math.floor((numberIn(source, 'jitterSeconds', 0, MOST_JITTER_SECONDS) ?? 0) * 1000)
  const { cron } = source
  if (jitterMs === 0) return 0
  const gapMs = typeof cron === 'string' ? smallestGap(cron) : (periodMs ?? Infinity)
  if (jitterMs > gapMs)
    throw new UsageError(
      'ScheduleInvalid',
      `jitterSeconds is ${jitterMs / 1000}, and its slots are ${gapMs / 1000} s apart: one would be due after the next`,
    )
  return jitterMs
}

/** Of cron lines that were asked about: ten thousand schedules have a few different ones, as a rule. */
const knownGaps = new Map<string, number>()

/**
 * Between the slots of a cron line, in milliseconds, on the clock of a zone whose days are equally long, and always from the same
 * instant: whether a schedule is valid must not follow from the day on which it is read. The hour that daylight saving takes away
 * delays a slot until the one before it has run.
 */
function smallestGap(cron: string): number {
  const known = knownGaps.get(cron)
  if (known !== undefined) return known
  const trigger = parseCron(cron, 'UTC')
  let gap = Infinity
  let slot = trigger.next(GAPS_FROM)
  for (let i = 0; i < GAPS_COMPARED && slot !== undefined; i++) {
    const next = trigger.next(slot)
    if (next !== undefined) gap = Math.min(gap, next - slot)
    slot = next
  }
  if (knownGaps.size >= GAPS_KEPT) knownGaps.clear()
  knownGaps.set(cron, gap)
  return gap
}

function readDate(at: unknown): Trigger {
  if (at instanceof Date || typeof at === 'string') return parseAt(at)
  throw new UsageError(
    'EtaInvalid',
    `at is text, an ISO-8601 instant with an offset such as "2026-01-31T09:00:00+08:00"; got ${JSON.stringify(at)}`,
  )
}

function text(source: Record<string, unknown>, field: string): string | undefined {
  const value = source[field]
  if (value === undefined) return undefined
  if (typeof value !== 'string' || value === '') throw new UsageError('ScheduleInvalid', `${field} is not text`)
  return value
}

function numberIn(source: Record<string, unknown>, field: string, least: number, most: number): number | undefined {
  const value = source[field]
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !(value >= least && value <= most)) {
    throw new UsageError(
      'ScheduleInvalid',
      `${field} is a number from ${least} to ${most}; got ${JSON.stringify(value)}`,
    )
  }
  return value
}

/** A mapping, as YAML and JSON have them. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
