// Runs deliveries: decides whether a message runs, waits or dies, calls the handler, and hands the outcome over. It knows
// no broker beyond `settle`, and no process: starting and stopping are worker.ts's.
import type { BrokerClock } from '../broker/broker-clock.ts'
import type { Delivery, DeliveryToken, Outcome } from '../broker/transport.ts'
import type { TaskEnd } from '../canvas/aftermath.ts'
import type { Clock } from '../clock.ts'
import { MessageError, asError } from '../errors.ts'
import { describeFailure } from '../protocol/result.ts'
import type { TaskMessage } from '../protocol/task-message.ts'
import type { Settings } from '../settings.ts'
import { resolveTaskOptions, type RegisteredTask, type ResolvedTaskOptions } from '../task.ts'
import { admit, type Admission } from './admission.ts'
import { checkArguments } from './arguments.ts'
import { Disposals, type DisposalDeps } from './disposals.ts'
import { Execution, TaskAborted } from './execution.ts'
import { FollowUp, type FollowUpDeps } from './followup.ts'
import { Handover, type HandoverDeps } from './handover.ts'
import {
  deadTask,
  failureWrite,
  releaseOf,
  resultWrite,
  retryPublication,
  revivalOf,
  revokedWrite,
  type OutcomeContext,
} from './outcome.ts'
import type { TaskPool } from './pool.ts'
import { RateLimits } from './rate-limits.ts'
import { judge } from './retry.ts'
import { Revocations } from './revocations.ts'
import { watchTimeLimits, type TimeLimitDeps } from './time-limits.ts'

/** What a runner is built on. */
export interface RunnerDeps extends HandoverDeps, DisposalDeps {
  readonly results: HandoverDeps['results'] & FollowUpDeps['results']
  /** The queue of a task that follows another, for the queue that it names, if any. */
  readonly queueOf: FollowUpDeps['queueOf']
  readonly settings: Settings
  /** `celery@<hostname>` */
  readonly worker: string
  readonly clock: Clock
  readonly brokerClock: BrokerClock
  readonly random: () => number
  /** The queue for a retry of a message from `queue`. */
  readonly retryQueue: (queue: string) => string
  /** A task went on beyond its hard limit: in one process nothing can end it but the end of the process. */
  readonly onHardLimit: () => void
  /** Where handlers run. */
  readonly pool: TaskPool
  readonly noteRunning?: TimeLimitDeps['noteRunning']
  /** The lease of a delivery is renewed no longer than so many seconds from now. */
  readonly limitLease: (token: DeliveryToken, seconds: number) => void
}

/** How an attempt ended, and, when the task has ended with it, what that means to those who wait. */
interface Ended {
  readonly outcome: Outcome
  readonly end?: TaskEnd
}

export class TaskRunner {
  readonly #deps: RunnerDeps
  readonly #running = new Map<DeliveryToken, Execution>()
  readonly #options = new Map<string, ResolvedTaskOptions>()
  readonly #handover: Handover
  readonly #disposals: Disposals
  readonly #followUp: FollowUp
  /** Finished executions by task name, for `inspect stats`. */
  readonly totals = new Map<string, number>()
  readonly revocations = new Revocations()
  readonly rateLimits = new RateLimits()
  processed = 0
  /** Broker's milliseconds at the last end of a task. */
  lastProgressAt: number | null = null

  constructor(deps: RunnerDeps) {
    this.#deps = deps
    this.#handover = new Handover(deps)
    const context = (): OutcomeContext => this.#context()
    this.#followUp = new FollowUp({ ...deps, resultTtlSeconds: deps.settings.resultTtlSeconds, context })
    this.#disposals = new Disposals(deps, this.#handover, this.#followUp, context)
    for (const { name, options } of deps.tasks.values())
      if (options.rateLimit) this.rateLimits.set(name, options.rateLimit)
  }

  /** Whether nothing runs and no outcome is on its way. */
  get idle(): boolean {
    return this.#running.size === 0 && this.#handover.pending === 0
  }

  get running(): ReadonlyMap<DeliveryToken, Execution> {
    return this.#running
  }

  /** Takes a delivery on. Never throws. */
  accept(delivery: Delivery): void {
    try {
      this.#accept(delivery)
    } catch (error) {
      this.#disposals.reject(
        delivery,
        error instanceof MessageError ? error : new MessageError('NotAnEnvelope', asError(error).message),
      )
    }
  }

  /** The lease of a delivery is lost: its outcome counts no more. */
  lose(token: DeliveryToken): void {
    const execution = this.#running.get(token)
    // One that was acknowledged before it ran has no lease to lose.
    if (!execution || execution.abandoned || execution.acknowledged) return
    execution.abandoned = true
    this.#deps.metrics.leasesLost.inc()
    execution.log.warn(
      { event: 'lease-lost' },
      'the lease is lost: another worker may run this task now; its outcome here is dropped',
    )
    execution.abort(new TaskAborted('LeaseLost', 'the lease of this task is lost: another worker may run it now'))
  }

  /** Ends tasks that run, of these ids, as revoked. @returns the ids of those that ran */
  terminate(ids: ReadonlySet<string>): string[] {
    const ended: string[] = []
    for (const [token, execution] of this.#running) {
      const { message, queue, log } = execution
      if (execution.abandoned || !ids.has(message.id)) continue
      execution.abandoned = true
      ended.push(message.id)
      this.#deps.metrics.tasks.inc({ task: message.task, queue, outcome: 'revoked' })
      this.#deps.events.revoked(message, { expired: false, terminated: true })
      log.warn(
        { event: 'task-revoked', terminated: true },
        'the task was called off while it ran; what it does counts no more',
      )
      execution.abort(new TaskAborted('Revoked', 'the task was called off'))
      const settled = { token: execution.acknowledged ? null : token, kind: 'complete' as const }
      // Its slot is free once the handler has ended.
      const result = revokedWrite(message, 'terminated', this.#context())
      this.#deps.settle({ ...settled, ...releaseOf(message), result }, queue)
    }
    return ended
  }

  /** New limits of a task's time, in seconds; undefined takes one away. @returns false for a task that nobody knows */
  setTimeLimits(task: string, limits: { soft: number | undefined; hard: number | undefined }): boolean {
    const registered = this.#deps.tasks.get(task)
    if (!registered) return false
    this.#options.set(task, {
      ...this.#optionsOf(registered),
      softTimeLimitSeconds: limits.soft,
      hardTimeLimitSeconds: limits.hard,
    })
    return true
  }

  /** Gives everything that still runs back to its queue. What was acknowledged before it ran is lost, and said to be. */
  giveBackAll(): number {
    let count = 0
    for (const [token, execution] of this.#running) {
      if (execution.abandoned) continue
      execution.abandoned = true
      const { task, queue, log, acknowledged } = execution
      this.#deps.metrics.tasks.inc({ task, queue, outcome: acknowledged ? 'lost' : 'given-back' })
      if (acknowledged) {
        execution.abort(new TaskAborted('WorkerStopping', 'the worker has to go, and this task will not run again'))
        log.error(
          { event: 'task-lost' },
          'the worker stops before the task has ended; it was acknowledged before it ran (acksLate: false) and will not run again',
        )
        continue
      }
      count += 1
      execution.abort(new TaskAborted('WorkerStopping', 'the worker has to go: the task was given back to its queue'))
      log.warn(
        { event: 'task-given-back' },
        'the worker stops before the task has ended; it was given back and will run again',
      )
      this.#deps.settle({ token, kind: 'giveBack', begun: true }, queue)
    }
    return count
  }

  #context(): OutcomeContext {
    const { worker, settings, brokerClock } = this.#deps
    const { resultTtlSeconds, resultExtended } = settings
    return { worker, resultTtlSeconds, resultExtended, now: brokerClock.now() }
  }

  #accept(delivery: Delivery): void {
    const admission = admit(delivery, this.#deps.tasks, {
      maxLostDeliveries: this.#deps.settings.maxLostDeliveries,
      isRevoked: (id) => this.revocations.has(id, this.#deps.clock.monotonic()),
    })
    const { message } = admission
    this.#deps.events.received(message)
    switch (admission.kind) {
      case 'run': {
        const waitMs = this.rateLimits.wait(message.task, this.#deps.clock.monotonic())
        if (waitMs > 0) this.#disposals.park(delivery, message, this.#deps.brokerClock.now() + waitMs, 'rate-limited')
        else void this.#run(admission, delivery)
        return
      }
      case 'park':
        this.#disposals.park(delivery, message, admission.dueAt, 'parked')
        return
      case 'expired':
        this.#disposals.expire(delivery, message)
        return
      case 'revoked':
        this.#disposals.drop(delivery, message)
        return
      case 'bury':
        this.#disposals.bury(delivery, message, admission.reason, admission.error)
        return
    }
  }

  /** Never rejects, and frees its slot whatever the handler and its errors are like. */
  async #run({ task, message, redelivered }: Extract<Admission, { kind: 'run' }>, delivery: Delivery): Promise<void> {
    const { clock, log, events, metrics, pool } = this.#deps
    const options = this.#optionsOf(task)
    const execution = new Execution(
      delivery,
      message,
      { monotonic: clock.monotonic(), wall: clock.now() },
      {
        log,
        logArguments: this.#deps.settings.logArguments,
        redelivered,
        acknowledged: !options.acksLate,
        progress: (running, meta) => this.#progress(running, options, meta),
      },
    )
    this.#running.set(delivery.token, execution)
    // Acknowledged before it runs: from here on nothing brings it back but its own retries.
    if (execution.acknowledged) this.#deps.settle({ token: delivery.token, kind: 'complete' }, delivery.queue)
    events.started(message)
    let unwatch: (() => void) | undefined
    let ended: Ended | undefined
    try {
      if (this.#deps.settings.trackStarted) await this.#tellStarted(execution, options)
      const checked = checkArguments(task.options, message)
      const { args, kwargs } = checked instanceof Promise ? await checked : checked
      if (kwargs !== message.kwargs) execution.kwargs = kwargs
      unwatch = watchTimeLimits(execution, options, {
        clock,
        noteRunning: this.#deps.noteRunning,
        limitLease: ({ delivery: { token } }, seconds) => this.#deps.limitLease(token, seconds),
        onHardLimit: (over, error) => this.#overHardLimit(over, options, error),
      })
      const value = await pool.run(task, execution, args)
      // What was called off or lost meanwhile has been told of already: it must not be told as a success.
      if (!execution.abandoned)
        ended = { outcome: this.#succeeded(execution, options, value), end: { state: 'SUCCESS', value: value ?? null } }
    } catch (thrown) {
      ended = this.#failedSomehow(execution, options, thrown)
    }
    unwatch?.()
    this.#running.delete(delivery.token)
    metrics.duration.observe({ task: task.name }, (clock.monotonic() - execution.startedAt) / 1000)
    this.#count(task.name)
    if (ended && !execution.abandoned) await this.#hand(ended, execution)
    else this.#deps.release()
  }

  async #hand({ outcome, end }: Ended, execution: Execution, counts = () => !execution.abandoned): Promise<void> {
    const { message, queue } = execution
    const whole = end ? this.#followUp.attach({ ...outcome, ...releaseOf(message) }, message, queue, end) : outcome
    await this.#handover.give(whole, queue, execution, counts)
  }

  /** The failure counts as an attempt; whatever the handler does from now on counts no more. */
  #overHardLimit(execution: Execution, options: ResolvedTaskOptions, error: Error): void {
    if (execution.abandoned) return
    execution.abort(new TaskAborted('TimeLimit', error.message))
    if (this.#deps.pool.endsTasks) {
      execution.log.error({ event: 'hard-time-limit', error }, 'the hard time limit is over: the task is ended')
      this.#deps.pool.end(execution, error)
      return
    }
    const ended = this.#failedSomehow(execution, options, error)
    execution.abandoned = true
    execution.log.fatal(
      { event: 'hard-time-limit', error },
      'the hard time limit is over, and the task goes on: this worker ends for it, and gives its other tasks back',
    )
    this.#deps.onHardLimit()
    if (ended) void this.#hand(ended, execution, () => true)
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
      execution.log.debug({ event: 'task-succeeded', durationMs: Math.round(seconds * 1000) }, 'task succeeded')
    }
    return { token: this.#token(execution), kind: 'complete', result }
  }

  /** An error can be such that even telling of it fails; the task is dead then, and that much is told. */
  #failedSomehow(execution: Execution, options: ResolvedTaskOptions, thrown: unknown): Ended | undefined {
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
    const context = this.#context()
    const verdict = judge(thrown, message.retries, options, brokerClock.now(), random())
    const error = asError(verdict.error)
    if (verdict.kind === 'retry') {
      metrics.tasks.inc({ task: message.task, queue: delivery.queue, outcome: 'retried' })
      events.retried(message, error)
      const seconds = Math.max(0, Math.round(verdict.dueAt - context.now) / 1000)
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
      const publish = retryPublication(message, this.#deps.retryQueue(delivery.queue), verdict.dueAt, context.now)
      const result = this.#stores(message, options) ? failureWrite(message, 'RETRY', error, context) : undefined
      return { outcome: { token: this.#token(execution), kind: 'retry', publish, result } }
    }
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

  #dead(execution: Execution, options: ResolvedTaskOptions, reason: string, error: Error): Ended {
    const { message, queue, acknowledged } = execution
    const context = this.#context()
    const outcome: Outcome = {
      token: this.#token(execution),
      kind: 'dead',
      letter: deadTask(message, queue, reason, error, context),
      ...(acknowledged ? { message: revivalOf(message, queue) } : {}),
      result: this.#stores(message, options) ? failureWrite(message, 'FAILURE', error, context) : undefined,
    }
    return { outcome, end: { state: 'FAILURE', value: describeFailure(error.name, error.message) } }
  }

  #durationMs({ startedAt }: Execution): number {
    return Math.round(this.#deps.clock.monotonic() - startedAt)
  }

  #token(execution: Execution): DeliveryToken | null {
    return execution.acknowledged ? null : execution.delivery.token
  }

  #stores(message: TaskMessage, options: ResolvedTaskOptions): boolean {
    return !options.ignoreResult && !message.ignoreResult
  }

  async #progress(execution: Execution, options: ResolvedTaskOptions, meta: unknown): Promise<void> {
    if (execution.abandoned || !this.#stores(execution.message, options)) return
    await this.#deps.results.writeResult(resultWrite(execution.message, 'PROGRESS', meta, null, this.#context()))
  }

  /** Before the handler begins: told after it, it could hide how that ended. */
  async #tellStarted(execution: Execution, options: ResolvedTaskOptions): Promise<void> {
    if (!this.#stores(execution.message, options)) return
    const meta = { pid: process.pid, hostname: this.#deps.worker }
    try {
      await this.#deps.results.writeResult(resultWrite(execution.message, 'STARTED', meta, null, this.#context()))
    } catch (error) {
      execution.log.warn({ event: 'result-not-stored', error }, 'that the task has started could not be stored')
    }
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
}
