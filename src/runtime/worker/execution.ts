// One delivery in a worker's hands: its context, and the ways in which it can be called off.
import { UsageError } from '../errors.ts'
import type { Delivery } from '../broker/transport.ts'
import type { CurrentTask } from '../current-task.ts'
import type { Logger } from '../log.ts'
import { startTime } from '../protocol/instant.ts'
import type { TaskMessage } from '../protocol/task-message.ts'
import { AttemptEnd, rejectionText } from './attempt-end.ts'
import { taskFields } from './task-fields.ts'
import { RejectRequest, RetryRequest, type RetryOptions, type TaskContext } from '../task.ts'
import { traceHeaders, type TraceHeaders } from '../trace-headers.ts'
import type { RunSpan } from '../tracing.ts'

/** Why `ctx.signal` aborts. */
export class TaskAborted extends Error {
  readonly code: 'LeaseLost' | 'TimeLimit' | 'WorkerStopping' | 'Revoked' | 'UnhandledRejection'

  constructor(code: TaskAborted['code'], message: string) {
    super(message)
    this.name = 'TaskAborted'
    this.code = code
  }
}

/** What an execution needs from its worker. */
export interface ExecutionDeps {
  readonly log: Logger
  readonly logArguments: boolean
  readonly redelivered: boolean
  /** It was acknowledged before it began (acksLate: false): no lease, and nothing to give back. */
  readonly acknowledged: boolean
  readonly progress: (execution: Execution, meta: unknown) => Promise<void>
  readonly span: RunSpan | undefined
}

export class Execution implements TaskContext, CurrentTask {
  readonly delivery: Delivery
  readonly message: TaskMessage
  /** Monotonic milliseconds. */
  readonly startedAt: number
  /** Wall clock, for `inspect active`. */
  readonly startedAtWall: number
  readonly redelivered: boolean
  readonly acknowledged: boolean
  /** Its outcome counts no more: the lease is lost, or the message was given back. */
  abandoned = false
  /** Where RunningTasks has it. */
  place = -1
  readonly span: RunSpan | undefined
  readonly #deps: ExecutionDeps
  #log: Logger | undefined
  #kwargs: Readonly<Record<string, unknown>> | undefined
  #controller: AbortController | undefined
  #aborted: TaskAborted | undefined
  readonly #end = new AttemptEnd()
  readonly #abortListeners: ((reason: TaskAborted) => void)[] = []

  constructor(delivery: Delivery, message: TaskMessage, at: { monotonic: number; wall: number }, deps: ExecutionDeps) {
    this.delivery = delivery
    this.message = message
    this.startedAt = at.monotonic
    this.startedAtWall = at.wall
    this.redelivered = deps.redelivered
    this.acknowledged = deps.acknowledged
    this.span = deps.span
    this.#deps = deps
  }

  get id(): string {
    return this.message.id
  }

  get rootId(): string {
    return this.message.rootId ?? this.message.id
  }

  get trace(): TraceHeaders {
    return this.span?.headers ?? traceHeaders(this.message.headers)
  }

  get task(): string {
    return this.message.task
  }

  get queue(): string {
    return this.delivery.queue
  }

  get attempt(): number {
    return this.message.retries + 1
  }

  get kwargs(): Readonly<Record<string, unknown>> {
    return this.#kwargs ?? this.message.kwargs
  }

  /** What the task's schema has made of them. */
  set kwargs(kwargs: Readonly<Record<string, unknown>>) {
    this.#kwargs = kwargs
  }

  get headers(): Readonly<Record<string, unknown>> {
    return this.message.headers
  }

  get scheduledFor(): number | undefined {
    return this.message.scheduledFor
  }

  /** Made when asked for: most tasks log nothing. */
  get log(): Logger {
    return (this.#log ??= this.#deps.log.child(this.logFields))
  }

  /** Of every line that is about it. */
  get logFields(): Readonly<Record<string, string | number>> {
    return taskFields(this.message, this.queue, this.#deps.logArguments)
  }

  /** Made when asked for, as well. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController()
      if (this.#aborted) this.#controller.abort(this.#aborted)
    }
    return this.#controller.signal
  }

  retry(options: RetryOptions = {}): never {
    return askRetry(options)
  }

  reject(reason: string): never {
    throw new RejectRequest(reason)
  }

  progress(meta: unknown): Promise<void> {
    return this.#deps.progress(this, meta)
  }

  abort(reason: TaskAborted): void {
    if (this.#aborted) return
    this.#aborted = reason
    this.#controller?.abort(reason)
    for (const listener of this.#abortListeners) listener(reason)
  }

  /** Waits for the end of its handler, or for the first error of its own that nobody caught before that. */
  outcome(running: unknown): Promise<unknown> {
    return this.#end.of(running)
  }

  fail(error: Error): boolean {
    if (this.abandoned || !this.#end.fail(error)) return false
    this.abort(new TaskAborted('UnhandledRejection', rejectionText(error)))
    return true
  }

  /** Calls back when it is called off, for a pool that runs it elsewhere. */
  onAbort(listener: (reason: TaskAborted) => void): void {
    this.#abortListeners.push(listener)
  }
}

/** What `ctx.retry()` does. */
export function askRetry(options: RetryOptions): never {
  // A contradiction in the options is the handler's error, and said there.
  startTime(options, Date.now())
  if (options.maxRetries !== undefined && !(options.maxRetries >= 0)) {
    throw new UsageError('OptionInvalid', `maxRetries is a number, 0 or more; got ${String(options.maxRetries)}`)
  }
  throw new RetryRequest(options)
}
