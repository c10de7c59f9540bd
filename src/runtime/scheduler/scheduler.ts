// Runs functions of this process by triggers: for one service whose work is light and local. Work that must be spread, retried or survive
// its worker is a task (TaskApp), and schedules of tasks are beat's. Names follow APScheduler's.
import cluster from 'node:cluster'
import { EventEmitter } from 'node:events'
import { BrokerClock } from '../broker/broker-clock.ts'
import { systemClock, type Clock, type Timer } from '../clock.ts'
import { UsageError, asError } from '../errors.ts'
import { createLog, type Logger } from '../log.ts'
import { uuid4 } from '../protocol/uuid.ts'
import { dueSlots, type DueSlots } from '../triggers/misfire.ts'
import type { ClaimTerms, JobChange, JobRecord, JobStore, RunRecord } from './job-store.ts'
import { JobRuns, LEASE_MS, type JobFunction, type SchedulerEvents } from './job-runs.ts'
import { MemoryJobStore } from './memory-store.ts'
import { triggerOf, type TriggerSpec } from './triggers.ts'

export interface SchedulerOptions {
  /** Memory by default: jobs end with the process. */
  readonly store?: JobStore
  readonly log?: Logger
  readonly clock?: Clock
  readonly random?: () => number
}

export interface AddJobOptions {
  /** Names the job; its function's name by default. A job of the same id is replaced, and keeps its next slot when the trigger is the same. */
  readonly id?: string
  /** Plain data; kept in the store. */
  readonly args?: readonly unknown[]
  /** A slot that is later than this, in seconds, is missed and not run. Default 300. */
  readonly misfireGraceSeconds?: number
  /** Of several slots that are due at once only the latest is run. Default true. */
  readonly coalesce?: boolean
  /** Runs of this job at once, over all processes of a shared store. Default 1. */
  readonly maxInstances?: number
  /** Each run is put off by up to so many seconds. Default 0. */
  readonly jitterSeconds?: number
}

/** A job as it is shown. */
export interface Job {
  readonly id: string
  readonly fn: string
  readonly trigger: TriggerSpec
  /** Undefined when it is paused or has no slot any more. */
  readonly nextRunTime: Date | undefined
  readonly paused: boolean
}

/** How often a shared store is looked at for what other processes did. */
const LOOK_MS = 1000

export class Scheduler extends EventEmitter<SchedulerEvents> {
  readonly #store: JobStore
  readonly #log: Logger
  readonly #clock: Clock
  /** The store's clock, where it has one: what is due is judged by it, since hosts' clocks disagree. */
  readonly #time: BrokerClock
  readonly #runs: JobRuns
  readonly #functions = new Map<string, JobFunction>()
  #timer: Timer | undefined
  #turning: Promise<void> = Promise.resolve()
  #inTurn = false
  /** A job has changed while a turn was under way. */
  #woken = false
  #opened: Promise<void> | undefined
  #started: Promise<void> | undefined
  #running = false
  #stopped = false

  constructor(options: SchedulerOptions = {}) {
    super()
    this.#store = options.store ?? new MemoryJobStore()
    this.#log = options.log ?? createLog({ fields: { service: 'scheduler', component: 'scheduler' } })
    this.#clock = options.clock ?? systemClock
    this.#time = new BrokerClock(this.#clock)
    const { random = Math.random } = options
    this.#runs = new JobRuns({
      ...{ store: this.#store, log: this.#log, clock: this.#clock, random, emitter: this },
      now: () => this.#time.now(),
    })
  }

  /** Names a function, so that jobs in a store find it after a restart. @throws UsageError `FunctionTwice` */
  register(name: string, fn: JobFunction): void {
    const known = this.#functions.get(name)
    if (known !== undefined && known !== fn)
      throw new UsageError('FunctionTwice', `two functions are registered as ${name}: the second would hide the first`)
    this.#functions.set(name, fn)
  }

  /**
   * Adds a job.
   * @param fn a function, or the name of one that is registered
   * @throws UsageError `FunctionNotRegistered`, `OptionInvalid`
   */
  async addJob(fn: JobFunction | string, trigger: TriggerSpec, options: AddJobOptions = {}): Promise<Job> {
    const name = this.#nameOf(fn, options.id)
    checkOptions(options)
    await this.#open()
    const id = options.id ?? name
    await this.#store.add({
      id,
      fn: name,
      args: options.args ?? [],
      trigger,
      misfireGraceSeconds: options.misfireGraceSeconds ?? 300,
      coalesce: options.coalesce ?? true,
      maxInstances: options.maxInstances ?? 1,
      jitterSeconds: options.jitterSeconds ?? 0,
      paused: false,
      // Of a job that is there already its own is kept: what came due while no process ran is still owed.
      nextRunAt: this.#firstOf(trigger),
    })
    return this.#shown(id)
  }

  /** All jobs, the next one first. */
  async getJobs(): Promise<Job[]> {
    await this.#open()
    const jobs = (await this.#store.list()).map(shown)
    const at = (job: Job): number => job.nextRunTime?.getTime() ?? Infinity
    return jobs.toSorted((a, b) => at(a) - at(b))
  }

  async getJob(id: string): Promise<Job | undefined> {
    await this.#open()
    const record = await this.#store.get(id)
    return record && shown(record)
  }

  /** Its slots pass unnoticed until it is resumed. @throws UsageError `JobUnknown` */
  async pauseJob(id: string): Promise<Job> {
    return this.#change(id, { paused: true })
  }

  /** From its next slot on. @throws UsageError `JobUnknown` */
  async resumeJob(id: string): Promise<Job> {
    const job = await this.#known(id)
    return this.#change(id, { paused: false, nextRunAt: this.#nextOf(job.trigger) })
  }

  /** Another trigger. @throws UsageError `JobUnknown` */
  async rescheduleJob(id: string, trigger: TriggerSpec): Promise<Job> {
    return this.#change(id, { trigger, nextRunAt: this.#firstOf(trigger) })
  }

  /** @throws UsageError `JobUnknown` */
  async removeJob(id: string): Promise<void> {
    await this.#open()
    if (!(await this.#store.remove(id))) throw unknownJob(id)
  }

  /** Begins to run jobs. */
  start(): Promise<void> {
    return (this.#started ??= this.#begin().catch((error: unknown) => {
      this.#started = undefined
      throw error
    }))
  }

  async #begin(): Promise<void> {
    await this.#open()
    if (this.#stopped) return
    this.#warnAlone()
    this.#runs.keepLeases()
    this.#running = true
    this.#schedule(0)
  }

  /**
   * Ends. Runs that are under way may end, or, with `wait: false`, are told by their signal and not waited for. What is not finished
   * then, or still waited for its jitter, is run by another process of a shared store, or at the next start.
   */
  async shutdown({ wait = true }: { readonly wait?: boolean } = {}): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    await this.#turning
    await this.#runs.end(wait)
    if (this.#opened) await this.#store.close()
    this.#opened = undefined
  }

  #open(): Promise<void> {
    return (this.#opened ??= this.#openStore().catch((error: unknown) => {
      // The next call tries again.
      this.#opened = undefined
      throw error
    }))
  }

  async #openStore(): Promise<void> {
    try {
      await this.#store.open()
      await this.#measure()
    } catch (error) {
      // What was half opened would hold the process.
      await this.#store.close().catch(() => undefined)
      throw error
    }
  }

  async #measure(): Promise<void> {
    const measured = await this.#store.time?.()
    if (measured) this.#time.correct(measured)
  }

  #nameOf(fn: JobFunction | string, id: string | undefined): string {
    if (typeof fn === 'string') {
      if (this.#functions.has(fn)) return fn
      throw new UsageError(
        'FunctionNotRegistered',
        `no function is registered as ${fn}: call register(${JSON.stringify(fn)}, ...) first`,
      )
    }
    for (const [name, known] of this.#functions) if (known === fn) return name
    const name = id ?? fn.name
    if (this.#store.persistent)
      throw new UsageError(
        'FunctionNotRegistered',
        `jobs in this store outlive the process, so their functions need names: register(${JSON.stringify(name || 'my-job')}, fn), and add the job by that name`,
      )
    if (name === '')
      throw new UsageError('OptionMissing', 'a function without a name needs an id: addJob(fn, trigger, { id })')
    this.register(name, fn)
    return name
  }

  /** Of a trigger that is new. A date that has just passed is due at once, and the misfire rule says what becomes of it. */
  #firstOf(trigger: TriggerSpec): number | null {
    return triggerOf(trigger).date ?? this.#nextOf(trigger)
  }

  #nextOf(trigger: TriggerSpec): number | null {
    return triggerOf(trigger).next(this.#time.now()) ?? null
  }

  async #change(id: string, change: JobChange): Promise<Job> {
    await this.#open()
    if (!(await this.#store.change(id, change))) throw unknownJob(id)
    return this.#shown(id)
  }

  /** After a change of a job: it may be due sooner. */
  async #shown(id: string): Promise<Job> {
    this.#wake()
    return shown(await this.#known(id))
  }

  async #known(id: string): Promise<JobRecord> {
    await this.#open()
    const job = await this.#store.get(id)
    if (!job) throw unknownJob(id)
    return job
  }

  #wake(): void {
    if (!this.#running || this.#stopped) return
    // Another turn beside it would go on for ever, as one more loop.
    this.#woken = this.#inTurn
    if (this.#inTurn) return
    this.#timer?.cancel()
    this.#schedule(0)
  }

  #schedule(milliseconds: number): void {
    if (this.#stopped) return
    this.#timer = this.#clock.after(milliseconds, () => {
      this.#inTurn = true
      this.#turning = this.#turn()
        .catch((error: unknown) => {
          this.#log.error(
            { event: 'scheduler-trouble', error: asError(error) },
            'the store of jobs failed; trying again',
          )
          return LOOK_MS
        })
        .then((wait) => {
          this.#inTurn = false
          this.#schedule(this.#woken ? 0 : wait)
          this.#woken = false
        })
    })
  }

  /** Runs what is due. @returns milliseconds until something may be again */
  async #turn(): Promise<number> {
    await this.#measure()
    const now = this.#time.now()
    for (const run of await this.#store.takeLost(termsAt(now))) await this.#takeOver(run, now)
    let next = Infinity
    for (const job of await this.#store.list()) {
      if (job.paused || job.nextRunAt === null) continue
      if (job.nextRunAt > now) next = Math.min(next, job.nextRunAt)
      else next = Math.min(next, (await this.#fireAlone(job, job.nextRunAt, now)) ?? Infinity)
    }
    const wait = Math.max(0, next - this.#time.now())
    return this.#store.shared ? Math.min(wait, LOOK_MS) : Math.min(wait, 0x7fff_ffff)
  }

  /** A job that can't be fired, since its record is damaged, costs no other its slot. */
  async #fireAlone(job: JobRecord, expected: number, now: number): Promise<number | null> {
    try {
      return await this.#fire(job, expected, now)
    } catch (error) {
      this.#log.error(
        { event: 'scheduler-trouble', job: job.id, error: asError(error) },
        `job ${job.id} can't be fired`,
      )
      return now + LOOK_MS
    }
  }

  /** Claims the slots of a job that are due, and runs them. @returns its next slot */
  async #fire(job: JobRecord, expected: number, now: number): Promise<number | null> {
    const trigger = triggerOf(job.trigger)
    const catchUp = job.coalesce ? 'Last' : 'All'
    const due = dueSlots({ trigger, catchUp, misfireGraceSeconds: job.misfireGraceSeconds }, expected - 1, now)
    const next = due.next ?? null
    const runs = due.run.map((slot): RunRecord => ({ id: uuid4(), jobId: job.id, slot }))
    const { maxInstances } = job
    const ours = await this.#store.claim(job.id, expected, next, runs, { ...termsAt(now), maxInstances })
    // Another process has it; what it did is seen at the next look.
    if (ours === undefined) return now + LOOK_MS
    this.#tellSkipped(job.id, due)
    for (const slot of due.missed) this.#runs.miss(job.id, slot, `it came due ${Math.round((now - slot) / 1000)} s ago`)
    runs.forEach((run, i) => {
      if (i < ours) this.#runs.begin(job, run, this.#functions.get(job.fn))
      else this.#runs.tooMany(job.id, run.slot)
    })
    return next
  }

  /** Of more missed slots than can be told one by one. */
  #tellSkipped(jobId: string, { missed, missedCount, last }: DueSlots): void {
    const count = missedCount - missed.length
    if (count > 0 && last !== undefined)
      this.#runs.miss(jobId, last, `it and the ${count - 1} slots before it came due long ago`, count)
  }

  /** A run whose process was lost: by the misfire rule, and never without a word. */
  async #takeOver(run: RunRecord, now: number): Promise<void> {
    // Ours, and late with its renewal: this process was stopped for a while.
    if (this.#runs.has(run)) return
    const job = await this.#store.get(run.jobId)
    const lateSeconds = (now - run.slot) / 1000
    if (job && lateSeconds <= job.misfireGraceSeconds) {
      this.#log.warn(
        { event: 'job-taken-over', job: run.jobId },
        'the process that ran this slot was lost; it runs again',
      )
      this.#runs.begin(job, run, this.#functions.get(job.fn))
      return
    }
    await this.#store.finish(run)
    this.#runs.miss(
      run.jobId,
      run.slot,
      job ? 'the process that ran it was lost, and it is too late to run it again' : 'the job is gone',
    )
  }

  #warnAlone(): void {
    const several = cluster.isWorker || process.env['NODE_APP_INSTANCE'] !== undefined
    if (this.#store.shared || !several) return
    const text =
      'this process is one of several, and each runs every job: give the Scheduler a store that they share, SqliteJobStore or RedisJobStore'
    this.#log.warn({ event: 'scheduler-not-alone' }, text)
    process.emitWarning(text, 'TaskQueueWarning')
  }
}

function shown({ id, fn, trigger, nextRunAt, paused }: JobRecord): Job {
  return { id, fn, trigger, paused, nextRunTime: paused || nextRunAt === null ? undefined : new Date(nextRunAt) }
}

function termsAt(now: number): ClaimTerms {
  return { now, leaseMs: LEASE_MS }
}

function unknownJob(id: string): UsageError {
  return new UsageError('JobUnknown', `there is no job ${JSON.stringify(id)}`)
}

function checkOptions({ misfireGraceSeconds = 0, maxInstances = 1, jitterSeconds = 0 }: AddJobOptions): void {
  const fits = misfireGraceSeconds >= 0 && jitterSeconds >= 0 && Number.isInteger(maxInstances) && maxInstances >= 1
  if (!fits)
    throw new UsageError(
      'OptionInvalid',
      'misfireGraceSeconds and jitterSeconds are 0 or more, maxInstances is a whole number of 1 or more',
    )
}
