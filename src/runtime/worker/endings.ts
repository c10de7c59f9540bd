// What the end of an attempt means: done, another attempt, or dead. Each is counted, logged and told here, and becomes an outcome; handing
// that over is runner.ts's.
import type { BrokerClock } from '../broker/broker-clock.ts'
import type { DeliveryToken, Outcome } from '../broker/transport.ts'
import type { TaskEnd } from '../canvas/aftermath.ts'
import type { Clock } from '../clock.ts'
import { asError } from '../errors.ts'
import { describeFailure } from '../protocol/result.ts'
import type { TaskMessage } from '../protocol/task-message.ts'
import type { ResolvedTaskOptions } from '../task.ts'
import type { Tracing } from '../tracing.ts'
import type { DisposalDeps } from './disposals.ts'
import type { Execution } from './execution.ts'
import { deadTask, failureWrite, resultWrite, retryPublication, revivalOf, type OutcomeContext } from './outcome.ts'
import { judge } from './retry.ts'
import type { TaskReports } from './task-reports.ts'

/** How an attempt ended, and, when the task has ended with it, what that means to those who wait. */
export interface Ended {
  readonly outcome: Outcome
  readonly end?: TaskEnd
}

export interface EndingDeps extends DisposalDeps {
  readonly clock: Clock
  readonly brokerClock: BrokerClock
  readonly random: () => number
  /** The queue for a retry of a message from `queue`. */
  readonly retryQueue: (queue: string) => string
  readonly tracing: Tracing | undefined
}

export class Endings {
  readonly #deps: EndingDeps
  readonly #reports: TaskReports
  readonly #context: () => OutcomeContext

  constructor(deps: EndingDeps, reports: TaskReports, context: () => OutcomeContext) {
    this.#deps = deps
    this.#reports = reports
    this.#context = context
  }

  succeeded(execution: Execution, options: ResolvedTaskOptions, value: unknown): Ended {
    const { message, delivery } = execution
    // First: a value that can't be written as JSON makes this attempt a failure.
    const result = stores(message, options) ? resultWrite(message, 'SUCCESS', value, null, this.#context()) : undefined
    const seconds = (this.#deps.clock.monotonic() - execution.startedAt) / 1000
    this.#deps.metrics.tasks.inc({ task: message.task, queue: delivery.queue, outcome: 'succeeded' })
    this.#deps.events.succeeded(message, value, seconds)
    if (this.#deps.log.isLevelEnabled('debug')) {
      execution.log.debug({ event: 'task-succeeded', durationMs: Math.round(seconds * 1000) }, 'task succeeded')
    }
    return {
      outcome: { token: tokenOf(execution), kind: 'complete', result },
      end: { state: 'SUCCESS', value: value ?? null },
    }
  }

  /** An error can be such that even telling of it fails; the task is dead then, and that much is told. */
  failed(execution: Execution, options: ResolvedTaskOptions, thrown: unknown): Ended | undefined {
    try {
      return this.#failed(execution, options, thrown)
    } catch (error) {
      const { message, queue, log } = execution
      const told = new Error(`the task failed, and its failure could not be handled: ${asError(error).message}`)
      log.error({ event: 'task-failed', error: told, reason: 'FailureUnreadable' }, told.message)
      this.#deps.metrics.tasks.inc({ task: message.task, queue, outcome: 'failed' })
      this.#deps.metrics.deadLetters.inc({ queue, reason: 'FailureUnreadable' })
      return this.#dead(execution, options, 'FailureUnreadable', told)
    }
  }

  #failed(execution: Execution, options: ResolvedTaskOptions, thrown: unknown): Ended | undefined {
    if (execution.abandoned) return undefined
    const { message, delivery } = execution
    const { events, metrics, random, brokerClock } = this.#deps
    const verdict = judge(thrown, message.retries, options, brokerClock.now(), random())
    const error = asError(verdict.error)
    if (verdict.kind === 'retry') return this.#retried(execution, options, error, verdict.dueAt)
    metrics.tasks.inc({ task: message.task, queue: delivery.queue, outcome: 'failed' })
    metrics.deadLetters.inc({ queue: delivery.queue, reason: verdict.reason })
    if (verdict.reason === 'Rejected') events.rejected(message)
    else events.failed(message, error)
    execution.log.error(
      {
        event: 'task-failed',
        error,
        reason: verdict.reason,
        durationMs: this.#durationMs(execution),
        maxRetries: options.maxRetries,
      },
      `the task failed for good after ${execution.attempt} ${execution.attempt === 1 ? 'attempt' : 'attempts'}; see "taskqueue dead show ${message.id}"`,
    )
    return this.#dead(execution, options, verdict.reason, error)
  }

  #retried(execution: Execution, options: ResolvedTaskOptions, error: Error, dueAt: number): Ended {
    const { message, queue } = execution
    const context = this.#context()
    this.#deps.metrics.tasks.inc({ task: message.task, queue, outcome: 'retried' })
    this.#deps.events.retried(message, error)
    const seconds = Math.max(0, Math.round(dueAt - context.now) / 1000)
    execution.log.warn(
      {
        event: 'task-retried',
        error,
        durationMs: this.#durationMs(execution),
        retryInSeconds: seconds,
        maxRetries: options.maxRetries,
      },
      `attempt ${execution.attempt} failed; the next one is due in ${seconds} s`,
    )
    this.#reports.retried(message, queue, error, { dueAt, now: context.now })
    const retryQueue = this.#deps.retryQueue(queue)
    const { id, task, retries } = message
    const span = this.#deps.tracing?.send({ id, task, queue: retryQueue, retries: retries + 1, scheduled: false })
    const publish = retryPublication(message, retryQueue, { dueAt, now: context.now }, span?.headers)
    span?.end()
    const result = stores(message, options) ? failureWrite(message, 'RETRY', error, context) : undefined
    return { outcome: { token: tokenOf(execution), kind: 'retry', publish, result } }
  }

  #dead(execution: Execution, options: ResolvedTaskOptions, reason: string, error: Error): Ended {
    const { message, queue, acknowledged } = execution
    const context = this.#context()
    const letter = deadTask(message, queue, reason, error, context)
    this.#reports.failed(message, queue, error)
    this.#reports.dead(letter, error, message)
    const outcome: Outcome = {
      token: tokenOf(execution),
      kind: 'dead',
      letter,
      ...(acknowledged ? { message: revivalOf(message, queue) } : {}),
      result: stores(message, options) ? failureWrite(message, 'FAILURE', error, context) : undefined,
    }
    return { outcome, end: { state: 'FAILURE', value: describeFailure(error.name, error.message) } }
  }

  #durationMs({ startedAt }: Execution): number {
    return Math.round(this.#deps.clock.monotonic() - startedAt)
  }
}

function tokenOf(execution: Execution): DeliveryToken | null {
  return execution.acknowledged ? null : execution.delivery.token
}

/** Whether anybody wants a result of it. */
export function stores(message: TaskMessage, options: ResolvedTaskOptions): boolean {
  return !options.ignoreResult && !message.ignoreResult
}
