// Beat: publishes the slots of schedules as they come due. Any number may run; the lease lets one fire, and each slot is one
// atomic step in the broker (advance-cursor.lua), so that no two publish it and none is lost without being counted.
import { hostname } from 'node:os'
import type { Publication } from '../broker/transport.ts'
import { BrokerClock } from '../broker/broker-clock.ts'
import type { Cursor, CursorAdvance, Store } from '../broker/store.ts'
import type { Clock, Timer } from '../clock.ts'
import { asError } from '../errors.ts'
import { createBeatMetrics, type BeatMetrics } from '../health/beat-metrics.ts'
import type { Health, HealthSource } from '../health/server.ts'
import { createRegistry } from '../health/task-metrics.ts'
import type { Logger } from '../log.ts'
import { uuid4, uuid5 } from '../protocol/uuid.ts'
import type { Schedule } from '../triggers/schedule.ts'
import { LOOK_MS, Leadership } from './leadership.ts'
import { planSchedule, type Move } from './plan.ts'
import { readScheduleFile, writeScheduleFile } from './schedule-file.ts'
import type { SchedulesSource } from './schedules-source.ts'

/** Makes the message of a slot: the app's routing, limits and environment apply. */
export type PrepareSlot = (schedule: Schedule, slot: number, id: string) => Publication

export interface BeatOptions {
  /** Names cursors and lease in the broker: `<namespace>/<name>` of the TaskQueue, or the app's name. */
  readonly name: string
  readonly store: Store
  readonly source: SchedulesSource
  readonly prepare: PrepareSlot
  /** Path of the schedule file; without it the broker alone remembers. */
  readonly scheduleFile?: string | undefined
  readonly log: Logger
  readonly clock: Clock
  readonly brokerClock?: BrokerClock
  /** Tells monitors of a message that was sent: Celery's task-sent. */
  readonly onSent?: (schedule: Schedule, slot: number, id: string, queue: string) => void
}

/** The longest a due slot waits for the next turn when nothing else is known. */
const TURN_MS = 1000
/** Before looking again when someone else moved a cursor: whatever the reason, it must not be a hot loop. */
const RELEARN_MS = 100
/** Slots fired at once: they share one connection. */
const AT_ONCE = 100
/** A beat whose last turn is older than this is stuck. */
const STUCK_MS = 60_000
/** A slot later than this is worth a word. */
const LATE_SECONDS = 5

export class Beat implements HealthSource {
  readonly metrics = createRegistry()
  readonly brokerClock: BrokerClock
  readonly #options: BeatOptions
  readonly #leadership: Leadership
  readonly #counters: BeatMetrics
  #cursors = new Map<string, Cursor>()
  #fileCursors = new Map<string, Cursor>()
  readonly #next = new Map<string, number>()
  #paused: ReadonlySet<string> = new Set()
  #known = false
  #timer: Timer | undefined
  #turning: Promise<void> = Promise.resolve()
  #stopped = false
  #lookedAt = -Infinity
  #lastTurn: number
  #lastFiredAt: number | null = null
  #problem: string | undefined
  #brokerProblem: string | undefined
  #fileProblem: string | undefined
  #loaded = false
  runs = 0
  missed = 0

  constructor(options: BeatOptions) {
    this.#options = options
    this.brokerClock = options.brokerClock ?? new BrokerClock(options.clock)
    this.#leadership = new Leadership(
      options.store,
      options.clock,
      `beat:${options.name}`,
      `${hostname()}:${process.pid}:${uuid4()}`,
    )
    this.#lastTurn = options.clock.monotonic()
    this.#counters = createBeatMetrics(this.metrics, {
      leader: () => this.#leadership.standing === 'leader',
      schedules: () => options.source.schedules.length,
    })
  }

  /**
   * Reads what the file remembers, and starts.
   * @throws TaskQueueError `ScheduleFileUnreadable`, `ScheduleFileUnwritable`
   */
  async start(): Promise<void> {
    const { scheduleFile, log, name, clock } = this.#options
    if (scheduleFile !== undefined) {
      const { cursors, setAside } = await readScheduleFile(scheduleFile, clock.now())
      this.#fileCursors = cursors
      if (setAside !== undefined) {
        log.error(
          { event: 'schedule-file-corrupt', set_aside: setAside },
          `the schedule file can't be understood; it was kept as ${setAside}`,
        )
      }
      // Said now, and not when the first slot has fired.
      await writeScheduleFile(scheduleFile, cursors)
    }
    await this.#reload()
    log.info(
      { event: 'beat-started', beat: name, schedules: this.#options.source.schedules.length },
      `beat ${name} has ${this.#options.source.schedules.length} schedules`,
    )
    this.#schedule(0)
  }

  livez(): Health {
    const silentMs = this.#options.clock.monotonic() - this.#lastTurn
    if (silentMs > STUCK_MS) return { ok: false, message: `the last turn was ${Math.round(silentMs / 1000)} s ago` }
    return { ok: true, message: 'alive' }
  }

  readyz(): Health {
    const { standing, leader } = this.#leadership
    const { source } = this.#options
    const detail = this.detail()
    if (standing === 'unknown')
      return { ok: false, message: this.#brokerProblem ?? 'the broker has not told yet who holds the lease', detail }
    if (!this.#loaded) return { ok: false, message: this.#problem ?? 'the schedules are not loaded yet', detail }
    const role = standing === 'leader' ? 'holds the lease' : `stands by for ${leader}`
    const problems = [this.#problem && `the last good schedules are kept: ${this.#problem}`, this.#fileProblem].filter(
      (text) => text !== undefined,
    )
    return { ok: true, message: [`${role}, ${source.schedules.length} schedules`, ...problems].join('; '), detail }
  }

  /** What presence and the probe say beyond the message. */
  detail(): Readonly<Record<string, unknown>> {
    const { source } = this.#options
    return {
      lease: this.#leadership.standing,
      schedules: source.schedules.length,
      paused: source.schedules.filter(({ name }) => this.#paused.has(name)).map(({ name }) => name),
      schedulesHash: source.hash,
      schedulesProblem: this.#problem ?? null,
      runs: this.runs,
      missed: this.missed,
      lastFiredAt: this.#lastFiredAt,
    }
  }

  get lastFiredAt(): number | null {
    return this.#lastFiredAt
  }

  get broken(): string | undefined {
    return this.#brokerProblem
  }

  /** Ends after the turn under way, and lets another beat fire at once. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    await this.#turning
    await this.#save()
    await this.#leadership.release().catch(() => undefined)
    this.#options.log.info({ event: 'beat-stopped' }, 'stopped')
  }

  #schedule(milliseconds: number): void {
    if (this.#stopped) return
    this.#timer = this.#options.clock.after(milliseconds, () => {
      this.#turning = this.#turn()
        .then(
          () => this.#recovered(),
          (error: unknown) => this.#trouble(error),
        )
        .finally(() => {
          this.#lastTurn = this.#options.clock.monotonic()
          this.#schedule(this.#untilNext())
        })
    })
  }

  #untilNext(): number {
    if (this.#leadership.standing !== 'leader' || this.#brokerProblem !== undefined) return TURN_MS
    if (!this.#known) return RELEARN_MS
    const now = this.brokerClock.now()
    let wait = TURN_MS
    for (const next of this.#next.values()) wait = Math.min(wait, next - now)
    return Math.max(0, Math.ceil(wait))
  }

  async #turn(): Promise<void> {
    const { clock, log } = this.#options
    if (clock.monotonic() - this.#lookedAt >= LOOK_MS) {
      this.#lookedAt = clock.monotonic()
      await this.#reload()
      this.brokerClock.correct(await this.#options.store.time())
      const { gained, lost } = await this.#leadership.look()
      if (gained) this.#known = false
      this.#paused = await this.#options.store.readPausedSchedules(this.#options.name)
      if (gained) log.info({ event: 'beat-leader' }, 'this beat holds the lease and fires')
      if (lost) log.warn({ event: 'beat-standby', leader: this.#leadership.leader }, 'the lease is lost; standing by')
    }
    if (!this.#leadership.fence || !this.#loaded) return
    if (!this.#known) await this.#learn()
    const now = this.brokerClock.now()
    const due = this.#options.source.schedules.filter(({ name }) => (this.#next.get(name) ?? -Infinity) <= now)
    let changed = false
    for (let at = 0; at < due.length; at += AT_ONCE) {
      const results = await Promise.allSettled(
        due.slice(at, at + AT_ONCE).map((schedule) => this.#follow(schedule, now)),
      )
      changed ||= results.some((result) => result.status === 'fulfilled' && result.value)
      const failed = results.find((result) => result.status === 'rejected')
      if (failed) throw asError(failed.reason)
    }
    if (changed) await this.#save()
  }

  async #reload(): Promise<void> {
    const { source, log } = this.#options
    const { changed, problem } = await source.read()
    this.#problem = problem
    if (problem === undefined) this.#loaded = true
    if (!changed) return
    if (problem !== undefined) {
      log.error(
        { event: 'schedules-invalid', reason: problem },
        `the schedules can't be used, the last good ones are kept: ${problem}`,
      )
      return
    }
    this.#known = false
    log.info(
      { event: 'schedules-loaded', schedules: source.schedules.length, hash: source.hash },
      `${source.schedules.length} schedules loaded`,
    )
  }

  /** Reads the cursors, and forgets those of schedules that are gone: one that comes back later owes nothing for the time between. */
  async #learn(): Promise<void> {
    const { store, source, name } = this.#options
    this.#cursors = await store.readCursors(name)
    this.#next.clear()
    const names = new Set(source.schedules.map((schedule) => schedule.name))
    const gone = [...this.#cursors.keys()].filter((schedule) => !names.has(schedule))
    await store.removeCursors(name, gone)
    for (const schedule of gone) this.#cursors.delete(schedule)
    for (const schedule of this.#fileCursors.keys()) if (!names.has(schedule)) this.#fileCursors.delete(schedule)
    this.#known = true
  }

  /** One schedule that may be due. True when its cursor moved. */
  async #follow(schedule: Schedule, now: number): Promise<boolean> {
    const known = { broker: this.#cursors.get(schedule.name), file: this.#fileCursors.get(schedule.name) }
    const plan = planSchedule(schedule, known, now, this.#paused.has(schedule.name))
    let from = plan.from
    for (const move of plan.moves) {
      const outcome = await this.#step(schedule, from, move)
      if (!outcome) return false
      from = move.to
    }
    if (plan.next === undefined) this.#next.set(schedule.name, Infinity)
    else this.#next.set(schedule.name, plan.next)
    this.#sayMissed(schedule, plan.missedSlots, plan.missedCount)
    return plan.moves.length > 0
  }

  async #step(schedule: Schedule, from: number | null, move: Move): Promise<boolean> {
    const { store, name } = this.#options
    const fence = this.#leadership.fence
    if (!fence) return false
    const { fingerprint } = schedule.trigger
    const id = uuid5(`taskqueue:${name}/${schedule.name}/${move.to}`)
    const publications = move.run ? this.#messageOf(schedule, move.to, id) : []
    const advance: CursorAdvance = {
      schedule: schedule.name,
      from,
      to: move.to,
      missed: move.missed + (move.run && publications.length === 0 ? 1 : 0),
      fingerprint,
      publications,
    }
    const outcome = await store.advanceCursor(name, fence, advance)
    if (outcome !== 'advanced') {
      // Another beat was here, or a lost reply had done it already: look again before anything else.
      this.#known = false
      if (outcome === 'fenced') this.#leadership.fenced()
      return false
    }
    this.#remember(advance)
    for (const { queue } of publications) {
      this.#sayRun(schedule, move.to, id)
      this.#options.onSent?.(schedule, move.to, id, queue)
    }
    return true
  }

  /** What the script has just written, as both the broker and the schedule file will have it. */
  #remember({ schedule, to, missed, fingerprint, publications }: CursorAdvance): void {
    const before = this.#cursors.get(schedule) ?? this.#fileCursors.get(schedule)
    const cursor: Cursor = {
      slot: to,
      firedAt: publications.length > 0 ? this.brokerClock.now() : (before?.firedAt ?? null),
      runs: (before?.runs ?? 0) + publications.length,
      missed: (before?.missed ?? 0) + missed,
      fingerprint,
    }
    this.#cursors.set(schedule, cursor)
    this.#fileCursors.set(schedule, cursor)
  }

  /** The message of a slot; none when the app refuses it, and then the slot is missed and the other schedules go on. */
  #messageOf(schedule: Schedule, slot: number, id: string): Publication[] {
    try {
      return [this.#options.prepare(schedule, slot, id)]
    } catch (error) {
      this.missed += 1
      this.#counters.missed.inc({ schedule: schedule.name })
      this.#options.log.error(
        {
          event: 'job-missed',
          error,
          schedule: schedule.name,
          task: schedule.task,
          scheduled_for: new Date(slot).toISOString(),
        },
        `JOB_MISSED: the slot of ${schedule.name} can't be sent: ${asError(error).message}`,
      )
      return []
    }
  }

  #sayRun(schedule: Schedule, slot: number, id: string): void {
    const lateness = Math.max(0, this.brokerClock.now() - slot) / 1000
    this.runs += 1
    this.#lastFiredAt = this.brokerClock.now()
    this.#counters.runs.inc({ schedule: schedule.name })
    this.#counters.lateness.observe(lateness)
    const fields = {
      event: 'schedule-fired',
      schedule: schedule.name,
      task: schedule.task,
      task_id: id,
      scheduled_for: new Date(slot).toISOString(),
      lateness_seconds: Math.round(lateness * 1000) / 1000,
    }
    if (lateness > LATE_SECONDS) this.#options.log.warn(fields, `${schedule.name} fired ${Math.round(lateness)} s late`)
    else this.#options.log.info(fields, `${schedule.name} fired`)
  }

  #sayMissed(schedule: Schedule, slots: readonly number[], count: number): void {
    if (count === 0) return
    this.missed += count
    this.#counters.missed.inc({ schedule: schedule.name }, count)
    for (const slot of slots) {
      this.#options.log.warn(
        {
          event: 'job-missed',
          schedule: schedule.name,
          task: schedule.task,
          scheduled_for: new Date(slot).toISOString(),
          missed_count: count,
        },
        `JOB_MISSED: the slot of ${schedule.name} at ${new Date(slot).toISOString()} was not run (catchUp ${schedule.catchUp}, misfireGraceSeconds ${schedule.misfireGraceSeconds})`,
      )
    }
  }

  async #save(): Promise<void> {
    const { scheduleFile, log } = this.#options
    if (scheduleFile === undefined) return
    try {
      await writeScheduleFile(scheduleFile, this.#fileCursors)
      this.#fileProblem = undefined
    } catch (error) {
      if (this.#fileProblem === undefined)
        log.error({ event: 'schedule-file-unwritable', error }, asError(error).message)
      this.#fileProblem = asError(error).message
    }
  }

  #trouble(error: unknown): void {
    const { message } = asError(error)
    if (this.#brokerProblem !== message)
      this.#options.log.error({ event: 'beat-trouble', error }, `a turn failed, trying again: ${message}`)
    this.#brokerProblem = message
  }

  #recovered(): void {
    if (this.#brokerProblem === undefined) return
    this.#brokerProblem = undefined
    this.#options.log.info({ event: 'beat-recovered' }, 'the broker answers again')
  }
}
