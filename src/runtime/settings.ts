// The TASKQUEUE_* variables: what they mean, their ranges and defaults. Pure: the environment comes in as an argument.
import { UsageError } from './errors.ts'

/** What a TaskApp and the processes around it are set to. */
export interface Settings {
  /** TASKQUEUE_BROKER_URL. */
  readonly brokerUrl: string
  /** TASKQUEUE_RESULT_URL; the broker's when unset. */
  readonly resultUrl: string
  /** TASKQUEUE_KEY_PREFIX: goes before every key and channel. */
  readonly keyPrefix: string
  /** TASKQUEUE_DEFAULT_QUEUE. */
  readonly defaultQueue: string
  /** TASKQUEUE_QUEUES, comma-separated: what a worker consumes; the default queue when unset. */
  readonly queues: readonly string[]
  /** TASKQUEUE_ENVIRONMENT: Test sends every publish to the default queue. */
  readonly environment: 'Production' | 'Test'
  /** TASKQUEUE_CONCURRENCY: tasks at once in one worker, 1 to 10000. */
  readonly concurrency: number
  /** TASKQUEUE_VISIBILITY_TIMEOUT in seconds: what the Python workers beside us have configured. */
  readonly visibilityTimeoutSeconds: number
  /** TASKQUEUE_LOG_LEVEL. */
  readonly logLevel: LogLevel
  /** TASKQUEUE_LOG_ARGUMENTS: lines about a task tell its arguments, which may be anybody's data; never by default. */
  readonly logArguments: boolean
  /** TASKQUEUE_HEALTH_PORT; 0 takes a free one. */
  readonly healthPort: number
  /** TASKQUEUE_SHUTDOWN_GRACE_SECONDS: how long running tasks may go on after SIGTERM. */
  readonly shutdownGraceSeconds: number
  /** TASKQUEUE_MAX_TASK_SECONDS: how long a task without a hard time limit may hold the event loop of a worker that counts as alive; 0 is no limit. */
  readonly maxTaskSeconds: number
  /** TASKQUEUE_LOOP_HELD_SECONDS: how long anything but a task may. */
  readonly loopHeldSeconds: number
  /** TASKQUEUE_RESULT_TTL_SECONDS. */
  readonly resultTtlSeconds: number
  /** TASKQUEUE_ACKS_LATE: false acknowledges before a task runs. */
  readonly acksLate: boolean
  /** TASKQUEUE_MAX_RETRIES. */
  readonly maxRetries: number
  /** TASKQUEUE_RETRY_BACKOFF_SECONDS: the first delay; it doubles with each attempt. */
  readonly retryBackoffSeconds: number
  /** TASKQUEUE_RETRY_BACKOFF_MAX_SECONDS: the cap. */
  readonly retryBackoffMaxSeconds: number
  /** TASKQUEUE_MAX_PAYLOAD_BYTES: bytes of a message's body that may be published. */
  readonly maxPayloadBytes: number
  /** TASKQUEUE_MAX_LOST_DELIVERIES: after so many workers lost with it a message goes to the dead letters. */
  readonly maxLostDeliveries: number
  /** TASKQUEUE_DEAD_MAX: so many dead letters are kept; beyond that the oldest are forgotten. */
  readonly deadMax: number
  /** TASKQUEUE_DEAD_MAX_AGE_SECONDS: a dead letter older than this is forgotten. */
  readonly deadMaxAgeSeconds: number
  /** TASKQUEUE_POOL: `async` runs tasks in the worker's event loop, `threads` each in a thread, for work that needs a core of its own. */
  readonly pool: Pool
  /** TASKQUEUE_RESULT_EXTENDED: results tell name, arguments, worker, queue and retries as well; Celery's `result_extended`. */
  readonly resultExtended: boolean
  /** TASKQUEUE_TRACK_STARTED: the state STARTED is stored, for a round trip more a task; Celery's `task_track_started`. */
  readonly trackStarted: boolean
  /** TASKQUEUE_EAGER: calls run the task at once in this process, without a broker; for unit tests. */
  readonly eager: boolean
  /** TASKQUEUE_MAX_SKEW_SECONDS: how far beat's machine and the broker may disagree about the time. */
  readonly maxSkewSeconds: number
  /** TASKQUEUE_ON_SKEW: beyond that beat reports it, or holds its fire. */
  readonly onSkew: OnSkew
  /** TASKQUEUE_NAMESPACE and TASKQUEUE_NAME: the TaskQueue this process belongs to. */
  readonly namespace: string | undefined
  readonly name: string | undefined
  /** TASKQUEUE_POD_UID. */
  readonly podUid: string | undefined
}

const ENVIRONMENTS = ['Production', 'Test'] as const
const POOLS = ['async', 'threads'] as const
export type Pool = (typeof POOLS)[number]
const ON_SKEW = ['Report', 'HoldBeat'] as const
export type OnSkew = (typeof ON_SKEW)[number]
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** The settings that are one of a few words. */
const CHOICES = { environment: ENVIRONMENTS, logLevel: LOG_LEVELS, pool: POOLS, onSkew: ON_SKEW } as const

/** Names a queue may have: what ends up in keys, channels and labels. */
const QUEUE_NAME = /^[^\s,{}\p{Cc}]{1,200}$/u

/** The most queues that one worker can consume. */
export const MAX_QUEUES = 256

type Environment = Readonly<Record<string, string | undefined>>

interface Range {
  readonly variable: string
  readonly fallback: number
  readonly least: number
  readonly most: number
  readonly whole: boolean
}

const range = (variable: string, fallback: number, least: number, most: number, whole = true): Range => {
  return { variable, fallback, least, most, whole }
}

/** The settings that are numbers: their variables, defaults and ranges. */
const NUMBERS = {
  concurrency: range('TASKQUEUE_CONCURRENCY', 8, 1, 10_000),
  visibilityTimeoutSeconds: range('TASKQUEUE_VISIBILITY_TIMEOUT', 3600, 1, 31_536_000, false),
  healthPort: range('TASKQUEUE_HEALTH_PORT', 9808, 0, 65_535),
  shutdownGraceSeconds: range('TASKQUEUE_SHUTDOWN_GRACE_SECONDS', 30, 0, 604_800, false),
  maxTaskSeconds: range('TASKQUEUE_MAX_TASK_SECONDS', 0, 0, 604_800, false),
  loopHeldSeconds: range('TASKQUEUE_LOOP_HELD_SECONDS', 30, 1, 86_400, false),
  resultTtlSeconds: range('TASKQUEUE_RESULT_TTL_SECONDS', 86_400, 1, 315_360_000),
  maxRetries: range('TASKQUEUE_MAX_RETRIES', 3, 0, 1_000_000),
  retryBackoffSeconds: range('TASKQUEUE_RETRY_BACKOFF_SECONDS', 60, 0, 86_400, false),
  retryBackoffMaxSeconds: range('TASKQUEUE_RETRY_BACKOFF_MAX_SECONDS', 3600, 0, 864_000, false),
  maxPayloadBytes: range('TASKQUEUE_MAX_PAYLOAD_BYTES', 65_536, 1, 16 * 1024 * 1024),
  maxSkewSeconds: range('TASKQUEUE_MAX_SKEW_SECONDS', 60, 0.001, 86_400, false),
  deadMax: range('TASKQUEUE_DEAD_MAX', 10_000, 1, 1_000_000),
  deadMaxAgeSeconds: range('TASKQUEUE_DEAD_MAX_AGE_SECONDS', 2_592_000, 1, 315_360_000),
  maxLostDeliveries: range('TASKQUEUE_MAX_LOST_DELIVERIES', 10, 1, 1_000_000),
} as const satisfies Partial<Record<keyof Settings, Range>>

type NumberSetting = keyof typeof NUMBERS

/**
 * Reads the settings.
 * @throws UsageError `SettingInvalid`, naming the variable, its value and what it may be
 */
export function readSettings(env: Environment): Settings {
  const brokerUrl = text(env, 'TASKQUEUE_BROKER_URL') ?? 'redis://127.0.0.1:6379/0'
  const defaultQueue = queueName('TASKQUEUE_DEFAULT_QUEUE', text(env, 'TASKQUEUE_DEFAULT_QUEUE') ?? 'celery')
  const numbers = Object.fromEntries(
    Object.entries(NUMBERS).map(([setting, range]) => [setting, numberOf(env, range)]),
  ) as Record<NumberSetting, number>
  return {
    ...numbers,
    brokerUrl,
    resultUrl: text(env, 'TASKQUEUE_RESULT_URL') ?? brokerUrl,
    keyPrefix: text(env, 'TASKQUEUE_KEY_PREFIX') ?? '',
    defaultQueue,
    queues: parseQueues('TASKQUEUE_QUEUES', text(env, 'TASKQUEUE_QUEUES') ?? defaultQueue),
    environment: oneOf(env, 'TASKQUEUE_ENVIRONMENT', ENVIRONMENTS, 'Production'),
    logLevel: oneOf(env, 'TASKQUEUE_LOG_LEVEL', LOG_LEVELS, 'info'),
    acksLate: flag(env, 'TASKQUEUE_ACKS_LATE', true),
    pool: oneOf(env, 'TASKQUEUE_POOL', POOLS, 'async'),
    onSkew: oneOf(env, 'TASKQUEUE_ON_SKEW', ON_SKEW, 'Report'),
    resultExtended: flag(env, 'TASKQUEUE_RESULT_EXTENDED', false),
    trackStarted: flag(env, 'TASKQUEUE_TRACK_STARTED', false),
    eager: flag(env, 'TASKQUEUE_EAGER', false),
    logArguments: flag(env, 'TASKQUEUE_LOG_ARGUMENTS', false),
    namespace: text(env, 'TASKQUEUE_NAMESPACE'),
    name: text(env, 'TASKQUEUE_NAME'),
    podUid: text(env, 'TASKQUEUE_POD_UID'),
  }
}

/**
 * Checks settings that came from code, where types can be got around, as those from variables are.
 * @throws UsageError `SettingInvalid`, naming the setting, its value and what it may be
 */
export function checkSettings(settings: Readonly<Record<keyof Settings, unknown>>): void {
  for (const [setting, { least, most, whole }] of Object.entries(NUMBERS)) {
    const value = settings[setting as NumberSetting]
    const fits = typeof value === 'number' && value >= least && value <= most && (!whole || Number.isInteger(value))
    if (!fits) throw invalid(setting, String(value), expected(least, most, whole))
  }
  for (const [setting, values] of Object.entries(CHOICES)) {
    const value = String(settings[setting as keyof typeof CHOICES])
    if (!(values as readonly string[]).includes(value)) throw invalid(setting, value, `one of ${values.join(', ')}`)
  }
  for (const setting of ['acksLate', 'resultExtended', 'trackStarted', 'eager', 'logArguments'] as const) {
    if (typeof settings[setting] !== 'boolean') throw invalid(setting, String(settings[setting]), 'true or false')
  }
  queueName('defaultQueue', String(settings.defaultQueue))
  if (!Array.isArray(settings.queues)) throw invalid('queues', String(settings.queues), 'a list of names of queues')
  parseQueues('queues', settings.queues.map(String).join(','))
}

/** A comma-separated list of queues. @throws UsageError `SettingInvalid` */
export function parseQueues(variable: string, value: string): string[] {
  const names = value
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
  if (names.length === 0) throw invalid(variable, value, 'names of queues, separated by commas')
  const queues = [...new Set(names.map((name) => queueName(variable, name)))]
  if (queues.length > MAX_QUEUES)
    throw invalid(variable, value, `at most ${MAX_QUEUES} queues; start several workers for more than that`)
  return queues
}

/** A queue's name, checked. @throws UsageError `SettingInvalid` */
export function queueName(where: string, name: string): string {
  if (!QUEUE_NAME.test(name)) {
    throw invalid(where, name, 'a queue: 1 to 200 characters without spaces, commas, braces and control characters')
  }
  return name
}

/** An unset and an empty variable are the same: Kubernetes makes the latter easily. */
function text(env: Environment, variable: string): string | undefined {
  const value = env[variable]
  return value === undefined || value === '' ? undefined : value
}

function oneOf<T extends string>(env: Environment, variable: string, values: readonly T[], fallback: T): T {
  const value = text(env, variable) ?? fallback
  const found = values.find((known) => known === value)
  if (found === undefined) throw invalid(variable, value, `one of ${values.join(', ')}`)
  return found
}

function flag(env: Environment, variable: string, fallback: boolean): boolean {
  return oneOf(env, variable, ['true', 'false'] as const, fallback ? 'true' : 'false') === 'true'
}

function numberOf(env: Environment, { variable, fallback, least, most, whole }: Range): number {
  const value = text(env, variable)
  if (value === undefined) return fallback
  const parsed = /^\d+(\.\d+)?$/.test(value) ? Number(value) : NaN
  if (!(parsed >= least && parsed <= most) || (whole && !Number.isInteger(parsed)))
    throw invalid(variable, value, expected(least, most, whole))
  return parsed
}

function expected(least: number, most: number, whole: boolean): string {
  return `a ${whole ? 'whole ' : ''}number from ${least} to ${most}`
}

function invalid(variable: string, value: string, expected: string): UsageError {
  return new UsageError(
    'SettingInvalid',
    `${variable} is ${JSON.stringify(value.slice(0, 100))}; it must be ${expected}`,
  )
}
