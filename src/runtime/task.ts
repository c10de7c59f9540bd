// What a task is: its options, its handler, what the handler is given. Running it is the worker's business (worker/).
import type { Logger } from './log.ts'
import type { InstantLike } from './protocol/instant.ts'
import type { Settings } from './settings.ts'

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
  /** How delays grow: `exponential` doubles them, `fixed` keeps them. Default exponential. */
  readonly retryBackoff?: 'exponential' | 'fixed'
  /** Errors of these classes are final at once, like PermanentError. */
  readonly noRetryFor?: readonly (abstract new (...args: never[]) => Error)[]
  /** Store nothing but failures' dead letters. Default false. */
  readonly ignoreResult?: boolean
  /** How often it may begin in one worker: `10/s`, `100/m`, `5/h`. What is too early waits in the broker. Default no limit. */
  readonly rateLimit?: string
  /** Seconds after which `ctx.signal` aborts; a handler that passes the signal on fails then. Default none. */
  readonly softTimeLimitSeconds?: number
  /**
   * Seconds after which an attempt has failed, whatever its handler does. JavaScript can't end a handler, so the worker ends: it gives
   * its other tasks back and exits with 1. Default none.
   */
  readonly hardTimeLimitSeconds?: number
}

/** Options with nothing left open. */
export interface ResolvedTaskOptions {
  readonly acksLate: boolean
  readonly maxRetries: number
  readonly retryBackoffSeconds: number
  readonly retryBackoffMaxSeconds: number
  readonly retryBackoff: 'exponential' | 'fixed'
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

/** Thrown by `ctx.retry()`. Don't catch it. */
export class RetryRequest extends Error {
  readonly options: RetryOptions

  constructor(options: RetryOptions) {
    super('the task asked to be run again')
    this.name = 'RetryRequest'
    this.options = options
  }
}

/** Marks a PermanentError across copies of this package: the worker may come from another one than the app. */
const PERMANENT: unique symbol = Symbol.for('taskqueue.permanent') as never

/** True for a PermanentError, also of another copy of this package. */
export function isPermanent(thrown: unknown): boolean {
  return thrown instanceof Error && Reflect.get(thrown, PERMANENT) === true
}

/** An error that no retry can cure: the task fails at once. Subclass it, or name classes in the task's `noRetryFor`. */
export class PermanentError extends Error {
  readonly [PERMANENT] = true

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
  }
}
