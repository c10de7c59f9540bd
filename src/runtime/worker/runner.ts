// Runs deliveries: decides whether a message runs, waits or dies, calls the handler, and hands the outcome over. It knows
// no broker beyond `settle`, and no process: starting and stopping are worker.ts's.
import type { Delivery, DeliveryToken } from '../broker/transport.ts'
import { asTask, fromHere } from '../current-task.ts'
import { MessageError, asError } from '../errors.ts'
import type { Settings } from '../settings.ts'
import { resolveTaskOptions, type RegisteredTask, type ResolvedTaskOptions } from '../task.ts'
import { admit, type Admission } from './admission.ts'
import { checkArguments } from './arguments.ts'
import { Disposals } from './disposals.ts'
import { Endings, stores, type Ended, type EndingDeps } from './endings.ts'
import { Execution, TaskAborted } from './execution.ts'
import { FollowUp, type FollowUpDeps } from './followup.ts'
import { Handover, type HandoverDeps } from './handover.ts'
import { releaseOf, resultWrite, revokedWrite, withRelease, type OutcomeContext } from './outcome.ts'
import type { TaskPool } from './pool.ts'
import { RateLimits } from './rate-limits.ts'
import { Revocations } from './revocations.ts'
import { RunningTasks } from './running-tasks.ts'
import { TaskReports, type TaskReportsDeps } from './task-reports.ts'
import { watchTimeLimits, type TimeLimitDeps } from './time-limits.ts'

/** What a runner is built on. */
export interface RunnerDeps extends HandoverDeps, EndingDeps {
  readonly results: HandoverDeps['results'] & FollowUpDeps['results']
  /** The queue of a task that follows another, for the queue that it names, if any. */
  readonly queueOf: FollowUpDeps['queueOf']
  readonly settings: Settings
  readonly worker: TaskReportsDeps['worker']
  readonly listeners: TaskReportsDeps['listeners']
  /** A task went on beyond its hard limit: in one process nothing can end it but the end of the process. */
  readonly onHardLimit: () => void
  /** Where handlers run. */
  readonly pool: TaskPool
  readonly noteRunning?: TimeLimitDeps['noteRunning']
  /** The lease of a delivery is renewed no longer than so many seconds from now. */
  readonly limitLease: (token: DeliveryToken, seconds: number) => void
}

export class TaskRunner {
  readonly #deps: RunnerDeps
  readonly #running = new RunningTasks()
  readonly #options = new Map<string, ResolvedTaskOptions>()
  readonly #handover: Handover
  readonly #disposals: Disposals
  readonly #followUp: FollowUp
  readonly #endings: Endings
  readonly #reports: TaskReports
  /** Finished executions by task name, for `inspect stats`. */
  readonly totals = new Map<string, number>()
  readonly revocations = new Revocations()
  readonly rateLimits = new RateLimits()
  processed = 0
  /** Broker's milliseconds at the last end of a task. */
  lastProgressAt: number | null = null

  constructor(outer: RunnerDeps) {
    const deps = outer.tracing ? untraced(outer) : outer
    this.#deps = deps
    this.#reports = new TaskReports(deps)
    this.#handover = new Handover(deps)
    const context = (): OutcomeContext => this.#context()
    const [reports, { resultTtlSeconds }] = [this.#reports, deps.settings]
    this.#followUp = new FollowUp({ ...deps, reports, resultTtlSeconds, context })
    this.#disposals = new Disposals({ ...deps, reports }, this.#handover, this.#followUp, context)
    this.#endings = new Endings(deps, reports, context)
    for (const { name, options } of deps.tasks.values())
      if (options.rateLimit) this.rateLimits.set(name, options.rateLimit)
  }

  /** Whether nothing runs and no outcome is on its way. */
  get idle(): boolean {
    return this.#running.size === 0 && this.#handover.pending === 0
  }

  get running(): Pick<RunningTasks, 'size' | typeof Symbol.iterator> {
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
    const execution = this.#running.find(token)
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
    for (const execution of this.#running) {
      const { message, queue, log, delivery } = execution
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
      const settled = { token: execution.acknowledged ? null : delivery.token, kind: 'complete' as const }
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
    // The last one first: each goes to the head of its queue.
    for (const execution of [...this.#running].toReversed()) {
      if (execution.abandoned) continue
      execution.abandoned = true
      const { task, queue, log, acknowledged, delivery } = execution
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
      this.#deps.settle({ token: delivery.token, kind: 'giveBack', begun: true }, queue)
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
        else this.#begin(admission, delivery)
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

  #begin(
    { task, message, redelivered, lostDeliveries }: Extract<Admission, { kind: 'run' }>,
    delivery: Delivery,
  ): void {
    const { clock, log, events, tracing, worker } = this.#deps
    const { queue } = delivery
    const options = this.#optionsOf(task)
    const { id, retries, headers } = message
    const span = tracing?.run({ id, task: message.task, queue, retries, headers, workerName: worker })
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
        span,
      },
    )
    this.#running.add(execution)
    // Acknowledged before it runs: from here on nothing brings it back but its own retries.
    if (execution.acknowledged) this.#deps.settle({ token: delivery.token, kind: 'complete' }, delivery.queue)
    events.started(message)
    const run = (): Promise<void> => {
      this.#reports.recovered(message, queue, lostDeliveries)
      return this.#run(task, execution, options)
    }
    if (span) void span.within(run).finally(() => span.end())
    else void run()
  }

  /** Never rejects, and frees its slot whatever the handler and its errors are like. */
  async #run(task: RegisteredTask, execution: Execution, options: ResolvedTaskOptions): Promise<void> {
    const { clock, metrics, pool } = this.#deps
    const { message } = execution
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
      const value = await execution.outcome(asTask(execution, () => pool.run(task, execution, args)))
      // What was called off or lost meanwhile has been told of already: it must not be told as a success.
      if (!execution.abandoned) ended = this.#endings.succeeded(execution, options, value)
    } catch (thrown) {
      ended = this.#endings.failed(execution, options, thrown)
    }
    unwatch?.()
    this.#running.remove(execution)
    metrics.duration.observe({ task: task.name }, (clock.monotonic() - execution.startedAt) / 1000)
    this.#count(task.name)
    if (!ended || execution.abandoned) {
      this.#deps.release()
      return
    }
    const handing = this.#hand(ended, execution, () => !execution.abandoned)
    if (handing) await handing
  }

  #hand({ outcome, end }: Ended, execution: Execution, counts: () => boolean): Promise<void> | undefined {
    const { message, queue } = execution
    const whole = end ? this.#followUp.attach(withRelease(outcome, message), message, queue, end) : outcome
    return this.#handover.give(whole, queue, execution, counts)
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
    const ended = this.#endings.failed(execution, options, error)
    execution.abandoned = true
    execution.log.fatal(
      { event: 'hard-time-limit', error },
      'the hard time limit is over, and the task goes on: this worker ends for it, and gives its other tasks back',
    )
    execution.span?.end()
    this.#deps.onHardLimit()
    if (ended) void this.#hand(ended, execution, () => true)
  }

  async #progress(execution: Execution, options: ResolvedTaskOptions, meta: unknown): Promise<void> {
    if (execution.abandoned || !stores(execution.message, options)) return
    await this.#deps.results.writeResult(resultWrite(execution.message, 'PROGRESS', meta, null, this.#context()))
  }

  /** Before the handler begins: told after it, it could hide how that ended. */
  async #tellStarted(execution: Execution, options: ResolvedTaskOptions): Promise<void> {
    if (!stores(execution.message, options)) return
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

/** What the broker's side goes on with is part of no span: not of that of the task that ended just then. */
function untraced(deps: RunnerDeps): RunnerDeps {
  const outside = fromHere()
  return {
    ...deps,
    settle: (outcome, queue) => outside(() => deps.settle(outcome, queue)),
    release: () => outside(() => deps.release()),
  }
}
