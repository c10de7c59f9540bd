// The runs of jobs: calls their functions, renews their claims, tells how they ended. When they run is scheduler.ts's.
import type { EventEmitter } from 'node:events'
import { pause, type Clock, type Timer } from '../clock.ts'
import { asError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { JobRecord, JobStore, RunRecord } from './job-store.ts'

/** What a job's function is given first. */
export interface JobContext {
  readonly jobId: string
  /** The slot that this run is for. */
  readonly scheduledFor: Date
  /** Aborts when the scheduler shuts down without waiting. */
  readonly signal: AbortSignal
  readonly log: Logger
}

export type JobFunction = (ctx: JobContext, ...args: never[]) => unknown

/** What events tell. */
export interface JobEvent {
  readonly jobId: string
  readonly scheduledFor: Date
}

export interface SchedulerEvents {
  /** A run begins. */
  submitted: [JobEvent]
  /** A run has ended well. */
  executed: [JobEvent & { readonly value: unknown; readonly runtimeSeconds: number }]
  /** A run has thrown. */
  error: [JobEvent & { readonly error: Error }]
  /** A slot was not run: too late, or its function is gone. */
  missed: [
    JobEvent & {
      readonly reason: string
      /** Slots that it stands for: of very many not each has its own. */
      readonly count: number
    },
  ]
  /** A slot was not run since as many runs as may be were under way. */
  maxInstances: [JobEvent]
}

/** How long a claim lasts unless it is renewed, three times within it. */
export const LEASE_MS = 15_000

export interface JobRunsDeps {
  readonly store: JobStore
  readonly log: Logger
  readonly clock: Clock
  /** What is due is judged by this, in milliseconds since the epoch. */
  readonly now: () => number
  readonly random: () => number
  readonly emitter: EventEmitter<SchedulerEvents>
}

export class JobRuns {
  readonly #deps: JobRunsDeps
  readonly #running = new Map<string, Promise<void>>()
  readonly #abort = new AbortController()
  /** Ends the waits for jitter: nothing begins any more. */
  readonly #ending = new AbortController()
  #renewal: Timer | undefined
  #ended = false

  constructor(deps: JobRunsDeps) {
    this.#deps = deps
  }

  /** Waits for what runs, or tells it to end. */
  async end(wait: boolean): Promise<void> {
    this.#ending.abort()
    if (wait) await Promise.all(this.#running.values())
    else this.#abort.abort(new Error('the scheduler shuts down'))
    this.#ended = true
    this.#renewal?.cancel()
  }

  /** Whether a run is under way in this process. */
  has({ id }: RunRecord): boolean {
    return this.#running.has(id)
  }

  /** Runs a slot that is claimed. @param fn undefined when no function of the job's name is registered */
  begin(job: JobRecord, run: RunRecord, fn: JobFunction | undefined): void {
    const running = (fn ? this.#run(job, run, fn) : this.#withoutFunction(job, run)).finally(() =>
      this.#running.delete(run.id),
    )
    this.#running.set(run.id, running)
  }

  /** A run that has not begun when the scheduler ends: its claim ends, and another process or the next start has it. */
  #leave(run: RunRecord): void {
    if (!this.#deps.store.persistent)
      this.miss(run.jobId, run.slot, 'the scheduler was shut down while the run waited for its jitter')
  }

  async #withoutFunction(job: JobRecord, run: RunRecord): Promise<void> {
    await this.#finish(run)
    this.miss(job.id, run.slot, `no function is registered as ${job.fn} in this process; the job is kept`)
  }

  /** Never rejects. */
  async #run(job: JobRecord, run: RunRecord, fn: JobFunction): Promise<void> {
    const event: JobEvent = { jobId: job.id, scheduledFor: new Date(run.slot) }
    if (job.jitterSeconds > 0) {
      await pause(this.#deps.clock, this.#deps.random() * job.jitterSeconds * 1000, this.#ending.signal)
      if (this.#ending.signal.aborted) {
        this.#leave(run)
        return
      }
    }
    const from = this.#deps.clock.monotonic()
    this.#tell('submitted', event)
    try {
      const log = this.#deps.log.child({ job: job.id })
      const ctx: JobContext = { ...event, signal: this.#abort.signal, log }
      const value: unknown = await fn(ctx, ...(job.args as never[]))
      // One that was told to end and not waited for is not finished.
      if (this.#abort.signal.aborted) return
      await this.#finish(run)
      this.#tell('executed', { ...event, value, runtimeSeconds: (this.#deps.clock.monotonic() - from) / 1000 })
    } catch (thrown) {
      if (this.#abort.signal.aborted) return
      const error = asError(thrown)
      await this.#finish(run)
      this.#deps.log.error(
        { event: 'job-error', job: job.id, scheduledFor: event.scheduledFor.toISOString(), error },
        `JOB_ERROR: ${job.id} failed: ${error.message}`,
      )
      // An emitter throws an 'error' that nobody listens to: the log has it already.
      if (this.#deps.emitter.listenerCount('error') > 0) this.#tell('error', { ...event, error })
    }
  }

  /** What can't be written is found again when its lease ends: a run too many, never one too few. */
  async #finish(run: RunRecord): Promise<void> {
    try {
      await this.#deps.store.finish(run)
    } catch (error) {
      this.#deps.log.error(
        { event: 'scheduler-trouble', error: asError(error) },
        'the end of a run could not be stored; it may run again',
      )
    }
  }

  /** Tells of a slot that is not run, or of `count` slots of which it is the last. */
  miss(jobId: string, slot: number, reason: string, count = 1): void {
    const scheduledFor = new Date(slot)
    this.#deps.log.warn(
      { event: 'job-missed', job: jobId, scheduledFor: scheduledFor.toISOString(), reason, missedCount: count },
      `JOB_MISSED: ${jobId}: ${reason}`,
    )
    this.#tell('missed', { jobId, scheduledFor, reason, count })
  }

  tooMany(jobId: string, slot: number): void {
    const scheduledFor = new Date(slot)
    this.#deps.log.warn(
      { event: 'job-max-instances', job: jobId, scheduledFor: scheduledFor.toISOString() },
      `${jobId} still runs as often as it may; this slot is left out`,
    )
    this.#tell('maxInstances', { jobId, scheduledFor })
  }

  /** A listener that throws is its own error, not the job's. */
  #tell<Name extends keyof SchedulerEvents>(name: Name, ...args: SchedulerEvents[Name]): void {
    try {
      ;(this.#deps.emitter.emit as (name: Name, ...args: SchedulerEvents[Name]) => boolean).call(
        this.#deps.emitter,
        name,
        ...args,
      )
    } catch (error) {
      this.#deps.log.error({ event: 'listener-failed', error: asError(error) }, `a listener of ${name} failed`)
    }
  }

  /** Renews the claims of what runs, until it has ended. */
  keepLeases(): void {
    this.#renewal = this.#deps.clock.after(
      LEASE_MS / 3,
      () => {
        const ids = [...this.#running.keys()]
        const done =
          ids.length === 0
            ? Promise.resolve()
            : this.#deps.store.renew(ids, { now: this.#deps.now(), leaseMs: LEASE_MS })
        done
          .catch((error: unknown) =>
            this.#deps.log.error(
              { event: 'scheduler-trouble', error: asError(error) },
              'leases of runs could not be renewed',
            ),
          )
          .finally(() => {
            if (!this.#ended) this.keepLeases()
          })
      },
      { background: true },
    )
  }
}
