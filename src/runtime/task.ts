// What a task is: its options, its handler, what the handler is given. Running it is the worker's business (worker/).
import type { Logger } from './log.ts'
import type { InstantLike } from './protocol/instant.ts'
import { UsageError } from './errors.ts'
import { parseRate } from './protocol/rate.ts'
import { queueName, type Settings } from './settings.ts'
import { isSchema, type Schema } from './schema.ts'

/** Whether a second call of a task is held off while the first has not ended. */
export interface Uniqueness {
  /** The longest time, in seconds, for which it lasts: 1 to 31536000. It ends sooner, when the task has succeeded or died. */
  readonly seconds: number
  /** What makes two calls the same; all of their arguments by default. */
  readonly key?: (...args: never[]) => string
}

/** Options of a task; what is left out comes from the app's settings. */
export interface TaskOptions {
  /** Where calls go unless they say otherwise. Prefer TASKQUEUE_DEFAULT_QUEUE: a name in code can't be moved from outside. */
  readonly queue?: string
  /** 0 (most urgent on Redis) to 9. Default 0. */
  readonly priority?: number
  /** Acknowledge after the task, so that a killed worker's task runs again. Default true. */
  readonly acksLate?: boolean
  /** Attempts after the first. Default 3. */
  readonly maxRetries?: number
  /** Seconds before the first retry. Default 60. */
  readonly retryBackoffSeconds?: number
  /** The longest delay, in seconds. Default 3600. */
  readonly retryBackoffMaxSeconds?: number
  /**
   * How delays grow: `exponential` doubles them, `fixed` keeps them; both are spread over the upper half of the delay. A function says
   * itself after how many seconds attempt 2, 3... shall follow. Default exponential.
   */
  readonly retryBackoff?: RetryBackoff
  /** Errors of these classes are final at once, like PermanentError. */
  readonly noRetryFor?: readonly (abstract new (...args: never[]) => Error)[]
  /** Store nothing but failures' dead letters. Default false. */
  readonly ignoreResult?: boolean
  /**
   * Checks the list of arguments before the handler sees it; what the schema makes of it is what the handler gets. Any Standard Schema
   * validator (zod, valibot, arktype...). Arguments that don't pass are a failure that isn't retried, `ArgumentsInvalid`.
   */
  readonly argsSchema?: Schema
  /** The same for `ctx.kwargs`. */
  readonly kwargsSchema?: Schema
  /** A call while another of the same key waits or runs sends nothing, and returns that one's result. Not within chains and the like. */
  readonly unique?: Uniqueness
  /** How often it may begin in one worker: `10/s`, `100/m`, `5/h`. What is too early waits in the broker. Default no limit. */
  readonly rateLimit?: string
  /** Seconds after which `ctx.signal` aborts; a handler that passes the signal on fails then. Default none. */
  readonly softTimeLimitSeconds?: number
  /**
   * Seconds after which an attempt has failed, whatever its handler does. In the pool `threads` its thread is ended. In the pool `async`
   * nothing can end a handler, so the worker ends: it gives its other tasks back and exits with 1. Default none.
   */
  readonly hardTimeLimitSeconds?: number
}

/** How the delays before retries grow. */
export type RetryBackoff = 'exponential' | 'fixed' | ((attempt: number, error: unknown) => number)

/** Options with nothing left open. */
export interface ResolvedTaskOptions {
  readonly acksLate: boolean
  readonly maxRetries: number
  readonly retryBackoffSeconds: number
  readonly retryBackoffMaxSeconds: number
  readonly retryBackoff: RetryBackoff
  readonly noRetryFor: readonly (abstract new (...args: never[]) => Error)[]
  readonly ignoreResult: boolean
  readonly softTimeLimitSeconds: number | undefined
  readonly hardTimeLimitSeconds: number | undefined
}

export function resolveTaskOptions(options: TaskOptions, settings: Settings): ResolvedTaskOptions {
  return {
    acksLate: options.acksLate ?? settings.acksLate,
    maxRetries: options.maxRetries ?? settings.maxRetries,
    retryBackoffSeconds: options.retryBackoffSeconds ?? settings.retryBackoffSeconds,
    retryBackoffMaxSeconds: options.retryBackoffMaxSeconds ?? settings.retryBackoffMaxSeconds,
    retryBackoff: options.retryBackoff ?? 'exponential',
    noRetryFor: options.noRetryFor ?? [],
    ignoreResult: options.ignoreResult ?? false,
    softTimeLimitSeconds: options.softTimeLimitSeconds,
    hardTimeLimitSeconds: options.hardTimeLimitSeconds,
  }
}

/** How `ctx.retry()` departs from the task's options. */
export interface RetryOptions {
  /** Seconds from now. */
  readonly countdown?: number
  readonly eta?: InstantLike
  /** Attempts after the first; the task's own when left out. */
  readonly maxRetries?: number
  /** What went wrong, for the log and, when retries are spent, for the result. */
  readonly error?: unknown
}

/** What a handler is given first. */
export interface TaskContext {
  /** The task's id, the same in every attempt. */
  readonly id: string
  /** The name under which it was called. */
  readonly task: string
  readonly queue: string
  /** 1 for the first attempt. */
  readonly attempt: number
  /** True when a worker that had this message before was lost, or gave it back half-way. */
  readonly redelivered: boolean
  /** Keyword arguments, which Python producers like. */
  readonly kwargs: Readonly<Record<string, unknown>>
  readonly headers: Readonly<Record<string, unknown>>
  /** Lines carry the task's id, name, queue and attempt. */
  readonly log: Logger
  /** Aborts when the lease is lost, the soft time limit is over, or the worker has to go. */
  readonly signal: AbortSignal
  /** The slot of the schedule that sent this task, in milliseconds since the epoch. */
  readonly scheduledFor: number | undefined
  /** Ends this attempt and has the task run again: `throw`s, so nothing after it runs. */
  retry(options?: RetryOptions): never
  /** Ends this task as a dead letter, whatever retries are left: `throw`s. Celery's Reject. */
  reject(reason: string): never
  /** Stores `meta` as the task's state PROGRESS, for whoever polls its result. */
  progress(meta: unknown): Promise<void>
}

/** The code of a task. */
export type TaskHandler<Args extends readonly unknown[], Result> = (
  ctx: TaskContext,
  ...args: Args
) => Result | Promise<Result>

/** A task as a worker finds it by name. */
export interface RegisteredTask {
  readonly name: string
  readonly options: TaskOptions
  readonly handler: TaskHandler<readonly unknown[], unknown>
}

/** Tasks by name. */
export type TaskTable = Pick<ReadonlyMap<string, RegisteredTask>, 'get' | 'has' | 'values'>

/** Thrown by `ctx.retry()`. Don't catch it. */
export class RetryRequest extends Error {
  readonly options: RetryOptions

  constructor(options: RetryOptions) {
    super('the task asked to be run again')
    this.name = 'RetryRequest'
    this.options = options
  }
}

/** Thrown by `ctx.reject()`. Don't catch it. */
export class RejectRequest extends Error {
  constructor(reason: string) {
    super(reason)
    this.name = 'Rejected'
  }
}

/** Marks a PermanentError across copies of this package: the worker may come from another one than the app. */
const PERMANENT: unique symbol = Symbol.for('taskqueue.permanent') as never

/** True for a PermanentError, also of another copy of this package. */
export function isPermanent(thrown: unknown): boolean {
  return thrown instanceof Error && Reflect.get(thrown, PERMANENT) === true
}

/** Makes an error final, as a PermanentError is. */
export function makePermanent(error: Error): Error {
  return Object.defineProperty(error, PERMANENT, { value: true })
}

/** An error that no retry can cure: the task fails at once. Subclass it, or name classes in the task's `noRetryFor`. */
export class PermanentError extends Error {
  readonly [PERMANENT] = true

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
  }
}

/** @throws UsageError `OptionInvalid` for a priority that the wire has not */
export function checkPriority(priority: number): void {
  if (!Number.isInteger(priority) || priority < 0 || priority > 9) {
    throw new UsageError(
      'OptionInvalid',
      `priority is a whole number from 0 (most urgent) to 9; got ${String(priority)}`,
    )
  }
}

/** Checks a task's options, which types can be got around. @throws UsageError `OptionInvalid`, `SettingInvalid` */
export function checkTaskOptions(name: string, options: TaskOptions): void {
  if (options.queue !== undefined) queueName(`the queue of task ${name}`, options.queue)
  if (options.priority !== undefined) checkPriority(options.priority)
  if (options.rateLimit !== undefined) parseRate(options.rateLimit)
  for (const [option, [fits, expected]] of Object.entries(EXPECTED)) {
    const value: unknown = options[option as keyof TaskOptions]
    if (value === undefined || fits(value)) continue
    const got = typeof value === 'number' ? String(value) : JSON.stringify(value)
    throw new UsageError('OptionInvalid', `${option} of task ${name} is ${expected}; got ${got}`)
  }
}

type Expectation = readonly [fits: (value: unknown) => boolean, expected: string]

const NOT_NEGATIVE: Expectation = [
  (value) => typeof value === 'number' && Number.isFinite(value) && value >= 0,
  'a number, 0 or more',
]
const SCHEMA: Expectation = [isSchema, 'a Standard Schema validator']

const EXPECTED: Partial<Record<keyof TaskOptions, Expectation>> = {
  maxRetries: NOT_NEGATIVE,
  retryBackoffSeconds: NOT_NEGATIVE,
  retryBackoffMaxSeconds: NOT_NEGATIVE,
  softTimeLimitSeconds: NOT_NEGATIVE,
  hardTimeLimitSeconds: NOT_NEGATIVE,
  retryBackoff: [
    (value) => typeof value === 'function' || value === 'exponential' || value === 'fixed',
    'exponential, fixed or a function',
  ],
  noRetryFor: [
    (value) => Array.isArray(value) && value.every((one) => typeof one === 'function'),
    'a list of classes of errors, such as [RangeError]',
  ],
  argsSchema: SCHEMA,
  kwargsSchema: SCHEMA,
  unique: [
    (value) => {
      const seconds: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, 'seconds') : undefined
      return typeof seconds === 'number' && seconds >= 1 && seconds <= 31_536_000
    },
    '{ seconds } of 1 to 31536000, and maybe a key',
  ],
}
