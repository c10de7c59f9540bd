// What a process is set to, read from the variables that variables.ts declares. Pure: the environment comes in as an argument.
import { UsageError } from './errors.ts'
import type { ChoiceVariable, FlagVariable, NumberVariable, Variable } from './variable.ts'
import { VARIABLES, type LOG_LEVELS } from './variables.ts'

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
  readonly pool: 'async' | 'threads'
  /** TASKQUEUE_RESULT_EXTENDED: results tell name, arguments, worker, queue and retries as well; Celery's `result_extended`. */
  readonly resultExtended: boolean
  /** TASKQUEUE_TRACK_STARTED: the state STARTED is stored, for a round trip more a task; Celery's `task_track_started`. */
  readonly trackStarted: boolean
  /** TASKQUEUE_EAGER: calls run the task at once in this process, without a broker; for unit tests. */
  readonly eager: boolean
  /** TASKQUEUE_MAX_SKEW_SECONDS: how far beat's machine and the broker may disagree about the time. */
  readonly maxSkewSeconds: number
  /** TASKQUEUE_ON_SKEW: beyond that beat reports it, or holds its fire. */
  readonly onSkew: 'Report' | 'HoldBeat'
  /** TASKQUEUE_NAMESPACE and TASKQUEUE_NAME: the TaskQueue this process belongs to. */
  readonly namespace: string | undefined
  readonly name: string | undefined
  /** TASKQUEUE_POD_UID. */
  readonly podUid: string | undefined
}

export type Pool = Settings['pool']
export type OnSkew = Settings['onSkew']
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Names a queue may have: what ends up in keys, channels and labels. */
const QUEUE_NAME = /^[^\s,{}\p{Cc}]{1,200}$/u

/** The most queues that one worker can consume. */
export const MAX_QUEUES = 256

type Environment = Readonly<Record<string, string | undefined>>

type ValueOf<V> = V extends NumberVariable
  ? number
  : V extends FlagVariable
    ? boolean
    : V extends ChoiceVariable<infer T>
      ? T
      : string | undefined

/** What the variables say, each by itself. */
type Values = { readonly [S in keyof typeof VARIABLES]: ValueOf<(typeof VARIABLES)[S]> }

/**
 * Reads the settings.
 * @throws UsageError `SettingInvalid`, naming the variable, its value and what it may be
 */
export function readSettings(env: Environment): Settings {
  const values = Object.fromEntries(
    Object.entries<Variable>(VARIABLES).map(([setting, variable]) => [setting, valueOf(env, variable)]),
  ) as Values
  const { brokerUrl = '' } = values
  const defaultQueue = queueName(VARIABLES.defaultQueue.variable, values.defaultQueue ?? '')
  return {
    ...values,
    brokerUrl,
    resultUrl: values.resultUrl ?? brokerUrl,
    keyPrefix: values.keyPrefix ?? '',
    defaultQueue,
    queues: parseQueues(VARIABLES.queues.variable, values.queues ?? defaultQueue),
  }
}

function valueOf(env: Environment, declared: Variable): string | number | boolean | undefined {
  const { variable } = declared
  const value = text(env, variable)
  if (value === undefined) return declared.fallback
  switch (declared.kind) {
    case 'number':
      return parseNumber(declared, value)
    case 'flag':
      return oneOf(variable, ['true', 'false'], value) === 'true'
    case 'choice':
      return oneOf(variable, declared.values, value)
    case 'text':
      return value
  }
}

/**
 * Checks settings that came from code, where types can be got around, as those from variables are.
 * @throws UsageError `SettingInvalid`, naming the setting, its value and what it may be
 */
export function checkSettings(settings: Readonly<Record<keyof Settings, unknown>>): void {
  for (const [setting, declared] of Object.entries<Variable>(VARIABLES))
    checkSetting(setting, declared, settings[setting as keyof Settings])
  queueName('defaultQueue', String(settings.defaultQueue))
  if (!Array.isArray(settings.queues)) throw invalid('queues', String(settings.queues), 'a list of names of queues')
  parseQueues('queues', settings.queues.map(String).join(','))
}

function checkSetting(setting: string, declared: Variable, value: unknown): void {
  if (declared.kind === 'number') {
    const { least, most, whole } = declared
    const fits = typeof value === 'number' && value >= least && value <= most && (!whole || Number.isInteger(value))
    if (!fits) throw invalid(setting, String(value), expected(declared))
  } else if (declared.kind === 'choice') oneOf(setting, declared.values, String(value))
  else if (declared.kind === 'flag' && typeof value !== 'boolean')
    throw invalid(setting, String(value), 'true or false')
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

function oneOf<T extends string>(where: string, values: readonly T[], value: string): T {
  const found = values.find((known) => known === value)
  if (found === undefined) throw invalid(where, value, `one of ${values.join(', ')}`)
  return found
}

function parseNumber(declared: NumberVariable, value: string): number {
  const { variable, least, most, whole } = declared
  const parsed = /^\d+(\.\d+)?$/.test(value) ? Number(value) : NaN
  if (!(parsed >= least && parsed <= most) || (whole && !Number.isInteger(parsed)))
    throw invalid(variable, value, expected(declared))
  return parsed
}

function expected({ least, most, whole }: NumberVariable): string {
  return `a ${whole ? 'whole ' : ''}number from ${least} to ${most}`
}

function invalid(variable: string, value: string, expected: string): UsageError {
  return new UsageError(
    'SettingInvalid',
    `${variable} is ${JSON.stringify(value.slice(0, 100))}; it must be ${expected}`,
  )
}
