// Runs deliveries: decides whether a message runs, waits or dies, calls the handler, and hands the outcome over. It knows
// no broker beyond `settle`, and no process: starting and stopping are worker.ts's.
import type { BrokerClock } from '../broker/broker-clock.ts'
import type { Delivery, DeliveryToken, Outcome, ResultWrite } from '../broker/transport.ts'
import type { Clock, Timer } from '../clock.ts'
import { MessageError, asError } from '../errors.ts'
import type { TaskEvents } from '../events/task-events.ts'
import type { TaskMetrics } from '../health/task-metrics.ts'
import type { Logger } from '../log.ts'
import { MAX_AHEAD_MS } from '../protocol/instant.ts'
import { describeFailure } from '../protocol/result.ts'
import { canvasParts, decodeTask, encodeRevival, type TaskMessage } from '../protocol/task-message.ts'
import type { Settings } from '../settings.ts'
import { resolveTaskOptions, type RegisteredTask, type ResolvedTaskOptions } from '../task.ts'
import { Execution, TaskAborted } from './execution.ts'
import { deadMessage, deadTask, failureWrite, resultWrite, retryPublication, type OutcomeContext } from './outcome.ts'
import { judge } from './retry.ts'

/** What a runner is built on. */
export interface RunnerDeps {
  readonly tasks: ReadonlyMap<string, RegisteredTask>
  readonly settings: Settings
  /** `celery@<hostname>` */
  readonly worker: string
  readonly log: Logger
  readonly clock: Clock
  readonly brokerClock: BrokerClock
  readonly random: () => number
  readonly events: TaskEvents
  readonly metrics: TaskMetrics
  /** The queue for a retry of a message from `queue`. */
  readonly retryQueue: (queue: string) => string
  /** Hands an outcome to the broker. */
  readonly settle: (outcome: Outcome, queue: string) => void
  /** A slot is free again. */
  readonly release: () => void
  /** Stores a result that can't be part of an outcome: progress, and all results when their store isn't the broker. */
  readonly writeResult: (result: ResultWrite) => Promise<void>
  /** True when results are stored by the broker together with outcomes. */
  readonly resultsInOutcome: boolean
}

export class TaskRunner {
  readonly #deps: RunnerDeps
  readonly #running = new Map<DeliveryToken, Execution>()
  readonly #options = new Map<string, ResolvedTaskOptions>()
  /** Finished executions by task name, for `inspect stats`. */
  readonly totals = new Map<string, number>()
  processed = 0
  /** Broker's milliseconds at the last end of a task. */
  lastProgressAt: number | null = null

  constructor(deps: RunnerDeps) {
    this.#deps = deps
  }

  get running(): ReadonlyMap<DeliveryToken, Execution> {
    return this.#running
  }

  /** Takes a delivery on. Never throws. */
  accept(delivery: Delivery): void {
    try {
      this.#accept(delivery)
    } catch (error) {
      this.#reject(
        delivery,
        error instanceof MessageError ? error : new MessageError('NotAnEnvelope', asError(error).message),
      )
    }
  }

  /** The lease of a delivery is lost: its outcome counts no more. */
  lose(token: DeliveryToken): void {
    const execution = this.#running.get(token)
    if (!execution || execution.abandoned) return
    execution.abandoned = true
    this.#deps.metrics.leasesLost.inc()
    execution.log.warn(
      { event: 'lease-lost' },
      'the lease is lost: another worker may run this task now; its outcome here is dropped',
    )
    execution.abort(new TaskAborted('LeaseLost', 'the lease of this task is lost: another worker may run it now'))
  }

  /** Gives everything that still runs back to its queue. */
  giveBackAll(): number {
    let count = 0
    for (const [token, execution] of this.#running) {
      if (execution.abandoned) continue
      execution.abandoned = true
      count += 1
      execution.abort(new TaskAborted('WorkerStopping', 'the worker has to go: the task was given back to its queue'))
      this.#deps.metrics.tasks.inc({ task: execution.task, queue: execution.queue, outcome: 'given-back' })
      execution.log.warn(
        { event: 'task-given-back' },
        'the worker stops before the task has ended; it was given back and will run again',
      )
      this.#deps.settle({ token, kind: 'giveBack', begun: true }, execution.queue)
    }
    return count
  }

  #context(): OutcomeContext {
    const { worker, settings, brokerClock } = this.#deps
    return { worker, resultTtlSeconds: settings.resultTtlSeconds, now: brokerClock.now() }
  }

  #accept(delivery: Delivery): void {
    const { message: envelope, token, queue } = delivery
    if (envelope instanceof MessageError) {
      this.#reject(delivery, envelope)
      return
    }
    const message = decodeTask(envelope)
    this.#deps.events.received(message)
    if (envelope.lostDeliveries >= this.#deps.settings.maxLostDeliveries) {
      const text = `${envelope.lostDeliveries} workers were lost while they had this task; it may be what ended them`
      this.#bury(delivery, message, 'DeliveredTooOften', new Error(text))
      return
    }
    if (message.expires !== undefined && message.expires <= delivery.takenAt) {
      this.#expire(delivery, message)
      return
    }
    if (message.eta !== undefined && message.eta - delivery.takenAt > MAX_AHEAD_MS) {
      const years = Math.round((message.eta - delivery.takenAt) / (365 * 86_400_000))
      throw new MessageError('EtaInvalid', `the header "eta" is ${years} years away; at most ten are accepted`)
    }
    if (message.eta !== undefined && message.eta > delivery.takenAt) {
      this.#deps.metrics.tasks.inc({ task: this.#label(message), queue, outcome: 'parked' })
      this.#deps.settle({ token, kind: 'park', dueAt: message.eta }, queue)
      this.#deps.release()
      return
    }
    const task = this.#deps.tasks.get(message.task)
    if (!task) {
      const error = new Error(`no task named ${message.task} is registered in this worker`)
      error.name = 'NotRegistered'
      this.#bury(delivery, message, 'NotRegistered', error)
      return
    }
    const canvas = canvasParts(message)
    if (canvas.length > 0) {
      // Running it and dropping what should follow would be a failure that nobody hears of.
      const text = `the message has ${canvas.join(', ')}, which Node workers don't follow yet: send it to a queue of Python workers`
      this.#bury(delivery, message, 'CanvasUnsupported', new Error(text))
      return
    }
    const redelivered =
      envelope.lostDeliveries > 0 || envelope.headers['redelivered'] === true || isRedelivered(envelope.properties)
    void this.#run(task, delivery, message, redelivered)
  }

  async #run(task: RegisteredTask, delivery: Delivery, message: TaskMessage, redelivered: boolean): Promise<void> {
    const { clock, log, events, metrics } = this.#deps
    const options = this.#optionsOf(task)
    const execution = new Execution(
      delivery,
      message,
      { monotonic: clock.monotonic(), wall: clock.now() },
      {
        log,
        redelivered,
        progress: (running, meta) => this.#progress(running, options, meta),
      },
    )
    this.#running.set(delivery.token, execution)
    // Acknowledged before it runs: from here on nothing brings it back but its own retries.
    if (!options.acksLate) this.#deps.settle({ token: delivery.token, kind: 'complete' }, delivery.queue)
    events.started(message)
    const limit = this.#softLimit(execution, options)
    let outcome: Outcome | undefined
    try {
      const value = await task.handler(execution, ...message.args)
      outcome = this.#succeeded(execution, options, value)
    } catch (thrown) {
      outcome = this.#failed(execution, options, thrown)
    }
    limit?.cancel()
    this.#running.delete(delivery.token)
    metrics.duration.observe({ task: task.name }, (clock.monotonic() - execution.startedAt) / 1000)
    this.#count(task.name)
    if (execution.abandoned) {
      this.#deps.release()
      return
    }
    await this.#handOver(outcome, execution)
    this.#deps.release()
  }

  #softLimit(execution: Execution, options: ResolvedTaskOptions): Timer | undefined {
    const seconds = execution.message.timeLimitSeconds ?? options.softTimeLimitSeconds
    if (seconds === undefined) return undefined
    return this.#deps.clock.after(seconds * 1000, () => {
      execution.log.warn({ event: 'soft-time-limit', limit_seconds: seconds }, 'the soft time limit is over')
      execution.abort(new TaskAborted('TimeLimit', `the soft time limit of ${seconds} s is over`))
    })
  }

  #succeeded(execution: Execution, options: ResolvedTaskOptions, value: unknown): Outcome {
    const { message, delivery } = execution
    // First: a value that can't be written as JSON makes this attempt a failure.
    const result = this.#stores(message, options)
      ? resultWrite(message, 'SUCCESS', value, null, this.#context())
      : undefined
    const seconds = (this.#deps.clock.monotonic() - execution.startedAt) / 1000
    this.#deps.metrics.tasks.inc({ task: message.task, queue: delivery.queue, outcome: 'succeeded' })
    this.#deps.events.succeeded(message, value, seconds)
    if (this.#deps.log.isLevelEnabled('debug')) {
      execution.log.debug({ event: 'task-succeeded', runtime_seconds: seconds }, 'task succeeded')
    }
    return { token: this.#token(execution, options), kind: 'complete', result }
  }

  #failed(execution: Execution, options: ResolvedTaskOptions, thrown: unknown): Outcome | undefined {
    if (execution.abandoned) return undefined
    const { message, delivery } = execution
    const { events, metrics, random, brokerClock } = this.#deps
    const context = this.#context()
    const verdict = judge(thrown, message.retries, options, brokerClock.now(), random())
    const error = asError(verdict.error)
    const token = this.#token(execution, options)
    const stored = this.#stores(message, options)
    if (verdict.kind === 'retry') {
      metrics.tasks.inc({ task: message.task, queue: delivery.queue, outcome: 'retried' })
      events.retried(message, error)
      const seconds = Math.max(0, Math.round(verdict.dueAt - context.now) / 1000)
      execution.log.warn(
        { event: 'task-retried', error, retry_in_seconds: seconds, max_retries: options.maxRetries },
        `attempt ${execution.attempt} failed; the next one is due in ${seconds} s`,
      )
      const publish = retryPublication(message, this.#deps.retryQueue(delivery.queue), verdict.dueAt, context.now)
      return {
        token,
        kind: 'retry',
        publish,
        result: stored ? failureWrite(message, 'RETRY', error, context) : undefined,
      }
    }
    metrics.tasks.inc({ task: message.task, queue: delivery.queue, outcome: 'failed' })
    metrics.deadLetters.inc({ queue: delivery.queue, reason: verdict.reason })
    events.failed(message, error)
    execution.log.error(
      { event: 'task-failed', error, reason: verdict.reason, max_retries: options.maxRetries },
      `the task failed for good after ${execution.attempt} ${execution.attempt === 1 ? 'attempt' : 'attempts'}; see "taskqueue dead show ${message.id}"`,
    )
    return {
      token,
      kind: 'dead',
      letter: deadTask(message, delivery.queue, verdict.reason, error, context),
      ...(token === null ? { message: encodeRevival(message, delivery.queue).raw } : {}),
      result: stored ? failureWrite(message, 'FAILURE', error, context) : undefined,
    }
  }

  #token(execution: Execution, options: ResolvedTaskOptions): DeliveryToken | null {
    return options.acksLate ? execution.delivery.token : null
  }

  #stores(message: TaskMessage, options: ResolvedTaskOptions): boolean {
    return !options.ignoreResult && !message.ignoreResult
  }

  /** Where results live elsewhere they are stored first: a result too many is harmless, one too few is not. */
  async #handOver(outcome: Outcome | undefined, execution: Execution): Promise<void> {
    if (!outcome) return
    if (outcome.result === undefined || this.#deps.resultsInOutcome) {
      this.#deps.settle(outcome, execution.queue)
      return
    }
    const { result, ...rest } = outcome
    try {
      await this.#deps.writeResult(result)
    } catch (error) {
      execution.log.error({ event: 'result-not-stored', error }, 'the result could not be stored')
    }
    if (!execution.abandoned) this.#deps.settle(rest, execution.queue)
  }

  async #progress(execution: Execution, options: ResolvedTaskOptions, meta: unknown): Promise<void> {
    if (execution.abandoned || !this.#stores(execution.message, options)) return
    await this.#deps.writeResult(resultWrite(execution.message, 'PROGRESS', meta, null, this.#context()))
  }

  #expire(delivery: Delivery, message: TaskMessage): void {
    const { log, metrics, events } = this.#deps
    const text = `the task expired at ${new Date(message.expires ?? 0).toISOString()}, before a worker was free`
    metrics.tasks.inc({ task: this.#label(message), queue: delivery.queue, outcome: 'expired' })
    events.revoked(message, true)
    log.warn(
      {
        event: 'task-expired',
        task_id: message.id,
        task: message.task,
        queue: delivery.queue,
        attempt: message.retries + 1,
      },
      text,
    )
    const failure = describeFailure('TaskRevokedError', 'expired', 'celery.exceptions')
    this.#end(delivery, message, {
      token: delivery.token,
      kind: 'complete',
      result: message.ignoreResult ? undefined : resultWrite(message, 'REVOKED', failure, null, this.#context()),
    })
  }

  /** A task that can't be run here: its letter, and a FAILURE for whoever waits. */
  #bury(delivery: Delivery, message: TaskMessage, reason: string, error: Error): void {
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
        task_id: message.id,
        task: message.task,
        queue,
        attempt: message.retries + 1,
      },
      `${error.message}; see "taskqueue dead show ${message.id}"`,
    )
    const module = error.name === 'NotRegistered' ? 'celery.exceptions' : 'taskqueue'
    const failure = describeFailure(error.name, reason === 'NotRegistered' ? message.task : error.message, module)
    this.#end(delivery, message, {
      token,
      kind: 'dead',
      letter: deadTask(message, queue, reason, error, context),
      result: message.ignoreResult ? undefined : resultWrite(message, 'FAILURE', failure, error.message, context),
    })
  }

  #end(delivery: Delivery, message: TaskMessage, outcome: Outcome): void {
    const { log, settle, release, resultsInOutcome, writeResult } = this.#deps
    if (outcome.result === undefined || resultsInOutcome) {
      settle(outcome, delivery.queue)
      release()
      return
    }
    const { result, ...rest } = outcome
    writeResult(result)
      .catch((error: unknown) =>
        log.error({ event: 'result-not-stored', task_id: message.id, error }, 'the result could not be stored'),
      )
      .finally(() => {
        settle(rest, delivery.queue)
        release()
      })
  }

  #reject(delivery: Delivery, error: MessageError): void {
    const { log, metrics, settle, release } = this.#deps
    const letter = deadMessage(delivery, error, this.#context())
    metrics.deadLetters.inc({ queue: delivery.queue, reason: error.code })
    log.error(
      {
        event: 'message-rejected',
        error,
        reason: error.code,
        task_id: letter.id,
        task: letter.task,
        queue: delivery.queue,
      },
      `a message can't be understood: ${error.message}; see "taskqueue dead show ${letter.id}"`,
    )
    settle({ token: delivery.token, kind: 'dead', letter }, delivery.queue)
    release()
  }

  #optionsOf(task: RegisteredTask): ResolvedTaskOptions {
    let options = this.#options.get(task.name)
    if (!options) this.#options.set(task.name, (options = resolveTaskOptions(task.options, this.#deps.settings)))
    return options
  }

  #count(task: string): void {
    this.processed += 1
    this.totals.set(task, (this.totals.get(task) ?? 0) + 1)
    this.lastProgressAt = this.#deps.brokerClock.now()
  }

  /** Names of tasks that we don't know are a sender's to choose: as label values they could be endless. */
  #label(message: TaskMessage): string {
    return this.#deps.tasks.has(message.task) ? message.task : 'unknown'
  }
}

function isRedelivered(properties: Readonly<Record<string, unknown>>): boolean {
  const info = properties['delivery_info']
  return typeof info === 'object' && info !== null && Reflect.get(info, 'redelivered') === true
}
