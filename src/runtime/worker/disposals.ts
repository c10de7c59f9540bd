// What becomes of messages that do not run: parked, expired, called off, dead. Each is counted, told and settled, and frees its slot.
import type { Delivery, Outcome } from '../broker/transport.ts'
import type { TaskEnd } from '../canvas/aftermath.ts'
import type { MessageError } from '../errors.ts'
import type { TaskEvents } from '../events/task-events.ts'
import type { TaskMetrics } from '../health/task-metrics.ts'
import type { Logger } from '../log.ts'
import { describeFailure } from '../protocol/result.ts'
import type { TaskMessage } from '../protocol/task-message.ts'
import type { TaskTable } from '../task.ts'
import type { FollowUp } from './followup.ts'
import type { Handover } from './handover.ts'
import { taskFields } from './task-fields.ts'
import type { TaskReports } from './task-reports.ts'
import {
  deadMessage,
  deadTask,
  releaseOf,
  resultWrite,
  revokedFailure,
  revokedWrite,
  type OutcomeContext,
} from './outcome.ts'

/** What is counted and told, and where. */
export interface DisposalDeps {
  readonly tasks: TaskTable
  readonly log: Logger
  readonly events: TaskEvents
  readonly metrics: TaskMetrics
}

export class Disposals {
  readonly #deps: DisposalDeps & { readonly reports: TaskReports }
  readonly #handover: Handover
  readonly #followUp: FollowUp
  readonly #context: () => OutcomeContext

  constructor(
    deps: DisposalDeps & { readonly reports: TaskReports },
    handover: Handover,
    followUp: FollowUp,
    context: () => OutcomeContext,
  ) {
    this.#deps = deps
    this.#handover = handover
    this.#followUp = followUp
    this.#context = context
  }

  park(delivery: Delivery, message: TaskMessage, dueAt: number, outcome: 'parked' | 'rate-limited'): void {
    this.#deps.metrics.tasks.inc({ task: this.#label(message), queue: delivery.queue, outcome })
    this.#end(delivery, { token: delivery.token, kind: 'park', dueAt })
  }

  expire(delivery: Delivery, message: TaskMessage): void {
    const { log, metrics, events } = this.#deps
    const text = `the task expired at ${new Date(message.expires ?? 0).toISOString()}, before a worker was free`
    metrics.tasks.inc({ task: this.#label(message), queue: delivery.queue, outcome: 'expired' })
    events.revoked(message, { expired: true, terminated: false })
    log.warn(
      {
        event: 'task-expired',
        ...taskFields(message, delivery.queue),
      },
      text,
    )
    this.#revoked(delivery, message, 'expired')
  }

  /** A task that was called off before it began. */
  drop(delivery: Delivery, message: TaskMessage): void {
    const { log, metrics, events } = this.#deps
    const { queue } = delivery
    metrics.tasks.inc({ task: this.#label(message), queue, outcome: 'revoked' })
    events.revoked(message, { expired: false, terminated: false })
    log.warn(
      { event: 'task-revoked', terminated: false, ...taskFields(message, queue) },
      'the task was called off before it began',
    )
    this.#revoked(delivery, message, 'revoked')
  }

  /** A task that can't be run here: its letter, and a FAILURE for whoever waits. */
  bury(delivery: Delivery, message: TaskMessage, reason: string, error: Error): void {
    const { log, metrics, events } = this.#deps
    const context = this.#context()
    const { queue, token } = delivery
    metrics.tasks.inc({ task: this.#label(message), queue, outcome: 'failed' })
    metrics.deadLetters.inc({ queue, reason })
    events.failed(message, error)
    log.error(
      {
        event: 'task-failed',
        error,
        reason,
        ...taskFields(message, queue),
      },
      `${error.message}; see "taskqueue dead show ${message.id}"`,
    )
    const module = error.name === 'NotRegistered' ? 'celery.exceptions' : 'taskqueue'
    const failure = describeFailure(error.name, reason === 'NotRegistered' ? message.task : error.message, module)
    const result = message.ignoreResult ? undefined : resultWrite(message, 'FAILURE', failure, error.message, context)
    const letter = deadTask(message, queue, reason, error, context)
    this.#deps.reports.dead(letter, error, message)
    const outcome: Outcome = { token, kind: 'dead', ...releaseOf(message), letter, result }
    this.#end(delivery, this.#followUp.attach(outcome, message, queue, { state: 'FAILURE', value: failure }))
  }

  #revoked(delivery: Delivery, message: TaskMessage, why: string): void {
    const { token, queue } = delivery
    const result = revokedWrite(message, why, this.#context())
    const outcome: Outcome = { token, kind: 'complete', ...releaseOf(message), result }
    const end: TaskEnd = { state: 'REVOKED', value: revokedFailure(why) }
    this.#end(delivery, this.#followUp.attach(outcome, message, queue, end))
  }

  /** The end of a delivery that did not run. */
  #end(delivery: Delivery, outcome: Outcome | Promise<Outcome>): void {
    void this.#handover.give(outcome, delivery.queue, this.#deps)
  }

  reject(delivery: Delivery, error: MessageError): void {
    const { log, metrics } = this.#deps
    const letter = deadMessage(delivery, error, this.#context())
    metrics.deadLetters.inc({ queue: delivery.queue, reason: error.code })
    log.error(
      {
        event: 'message-rejected',
        error,
        reason: error.code,
        taskId: letter.id,
        ...(letter.task === null ? {} : { task: letter.task }),
        queue: delivery.queue,
      },
      `a message can't be understood: ${error.message}; see "taskqueue dead show ${letter.id}"`,
    )
    this.#deps.reports.dead(letter, error, undefined)
    this.#end(delivery, { token: delivery.token, kind: 'dead', letter })
  }

  /** Names of tasks that we don't know are a sender's to choose: as label values they could be endless. */
  #label(message: TaskMessage): string {
    return this.#deps.tasks.has(message.task) ? message.task : 'unknown'
  }
}
