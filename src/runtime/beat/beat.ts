// Beat: publishes the slots of schedules as they come due. Any number may run; the lease lets one fire, and each slot is one
// atomic step in the broker (advance-cursor.lua), so that no two publish it and none is lost without being counted.
import { hostname } from 'node:os'
import type { Publication } from '../broker/transport.ts'
import { BrokerClock } from '../broker/broker-clock.ts'
import type { CursorAdvance, Store } from '../broker/store.ts'
import type { Clock, Timer } from '../clock.ts'
import { asError } from '../errors.ts'
import type { Health, HealthSource } from '../health/server.ts'
import { createRegistry } from '../health/task-metrics.ts'
import type { Logger } from '../log.ts'
import { uuid4, uuid5 } from '../protocol/uuid.ts'
import type { Schedule } from '../triggers/schedule.ts'
import { skewProblem, type ClockLimit } from './clock-guard.ts'
import { Cursors } from './cursors.ts'
import { DueOrder } from './due-order.ts'
import { LOOK_MS, Leadership } from './leadership.ts'
import { planSchedule, type Move } from './plan.ts'
import type { SchedulesSource } from './schedules-source.ts'
import { SlotLog } from './slot-log.ts'

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
  readonly clockLimit: ClockLimit
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
/** A cursor so far in the future is worth a word: the broker's clock has been wrong, or is. */
const AHEAD_MS = 60_000

export class Beat implements HealthSource {
  readonly metrics = createRegistry()
  readonly brokerClock: BrokerClock
  readonly #options: BeatOptions
  readonly #leadership: Leadership
  readonly #cursors: Cursors
  readonly #slots: SlotLog
  readonly #due = new DueOrder()
  #schedules: ReadonlyMap<string, Schedule> = new Map()
  #paused: ReadonlySet<string> = new Set()
  #known = false
  #timer: Timer | undefined
  #turning: Promise<void> = Promise.resolve()
  #stopped = false
  #lookedAt = -Infinity
  #lastTurn: number
  #problem: string | undefined
  #brokerProblem: string | undefined
  #skewProblem: string | undefined
  #loaded = false

  constructor(options: BeatOptions) {
    const { name, store, source, clock, log } = options
    this.#options = options
    this.brokerClock = options.brokerClock ?? new BrokerClock(clock)
    this.#leadership = new Leadership(store, clock, `beat:${name}`, `${hostname()}:${process.pid}:${uuid4()}`)
    this.#cursors = new Cursors({ name, store, file: options.scheduleFile, log, clock })
    this.#lastTurn = clock.monotonic()
    this.#slots = new SlotLog(log, this.metrics, {
      leader: () => this.#leadership.standing === 'leader',
      held: () => this.#held !== undefined,
      schedules: () => source.schedules.length,
    })
  }

  /**
   * Reads what the file remembers, and starts.
   * @throws TaskQueueError `ScheduleFileUnreadable`, `ScheduleFileUnwritable`
   */
  async start(): Promise<void> {
    await this.#cursors.open()
    await this.#reload()
    const { log, name, source } = this.#options
    log.info(
      { event: 'beat-started', beat: name, schedules: source.schedules.length },
      `beat ${name} has ${source.schedules.length} schedules`,
    )
    this.#schedule(0)
  }

  livez(): Health {
    const silentMs = this.#silentMs
    if (silentMs > STUCK_MS) return { ok: false, message: `the last turn was ${Math.round(silentMs / 1000)} s ago` }
    return { ok: true, message: 'alive' }
  }

  readyz(): Health {
    const { standing, leader } = this.#leadership
    const { source } = this.#options
    const detail = { ...this.detail(), lastTurnSecondsAgo: Math.round(this.#silentMs / 100) / 10 }
    if (this.#held !== undefined) return { ok: false, message: `holds its fire: ${this.#held}`, detail }
    if (standing === 'unknown')
      return { ok: false, message: this.#brokerProblem ?? 'the broker has not told yet who holds the lease', detail }
    if (!this.#loaded) return { ok: false, message: this.#problem ?? 'the schedules are not loaded yet', detail }
    const role = standing === 'leader' ? 'holds the lease' : `stands by for ${leader}`
    const problems = [
      this.#problem && `the last good schedules are kept: ${this.#problem}`,
      this.#cursors.fileProblem,
      this.#skewProblem,
    ].filter((text) => text !== undefined)
    return { ok: true, message: [`${role}, ${source.schedules.length} schedules`, ...problems].join('; '), detail }
  }

  /** What presence and the probe say beyond the message. */
  detail(): Readonly<Record<string, unknown>> {
    const { source } = this.#options
    return {
      lease: this.#leadership.standing,
      held: this.#held ?? null,
      schedules: source.schedules.length,
      paused: source.schedules.filter(({ name }) => this.#paused.has(name)).map(({ name }) => name),
      schedulesHash: source.hash,
      schedulesProblem: this.#problem ?? null,
      runs: this.#slots.runs,
      missed: this.#slots.missed,
      lastFiredAt: this.#slots.lastFiredAt,
    }
  }

  /** Slots published by this process. */
  get runs(): number {
    return this.#slots.runs
  }

  get lastFiredAt(): number | null {
    return this.#slots.lastFiredAt
  }

  /** Ends after the turn under way, and lets another beat fire at once. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    await this.#turning
    await this.#cursors.flush()
    await this.#leadership.release().catch(() => undefined)
    this.#options.log.info({ event: 'beat-stopped' }, 'stopped')
  }

  /** Since its last turn. */
  get #silentMs(): number {
    return this.#options.clock.monotonic() - this.#lastTurn
  }

  /** Why it holds its fire, if it does. */
  get #held(): string | undefined {
    return this.#options.clockLimit.onSkew === 'HoldBeat' ? this.#skewProblem : undefined
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
    const wait = (this.#due.nextAt ?? Infinity) - this.brokerClock.now()
    return Math.max(0, Math.min(TURN_MS, Math.ceil(wait)))
  }

  async #turn(): Promise<void> {
    if (this.#lookIsDue) await this.#look()
    if (this.#held !== undefined || !this.#leadership.fence || !this.#loaded) return
    if (!this.#known) await this.#learn()
    // A burst longer than the time between looks is left for the next turn, which comes at once: the lease must be renewed.
    while (this.#known && !this.#lookIsDue) {
      const now = this.brokerClock.now()
      const due = this.#due.take(now, AT_ONCE)
      if (due.length === 0) break
      await this.#followAll(due, now)
    }
    this.#cursors.saveSoon()
  }

  get #lookIsDue(): boolean {
    return this.#options.clock.monotonic() - this.#lookedAt >= LOOK_MS
  }

  /** Looks at everything that may have changed outside: schedules, the broker's clock, the lease, what is paused. */
  async #look(): Promise<void> {
    const { clock, log, store, name } = this.#options
    this.#lookedAt = clock.monotonic()
    await this.#reload()
    this.brokerClock.correct(await store.time())
    this.#judgeClocks()
    if (this.#held !== undefined) {
      // Another beat, on a machine whose clock is right, may fire meanwhile.
      await this.#leadership.release()
      return
    }
    const { gained, lost } = await this.#leadership.look()
    if (gained) this.#known = false
    this.#paused = await store.readPausedSchedules(name)
    if (gained) log.info({ event: 'beat-leader' }, 'this beat holds the lease and fires')
    if (lost) log.warn({ event: 'beat-standby', leader: this.#leadership.leader }, 'the lease is lost; standing by')
  }

  #judgeClocks(): void {
    const { clockLimit, log } = this.#options
    const before = this.#skewProblem
    this.#skewProblem = skewProblem(this.brokerClock.offset, clockLimit)
    const fields = { offset_seconds: this.brokerClock.offset.seconds }
    if (this.#skewProblem !== undefined && before === undefined) {
      const hold = clockLimit.onSkew === 'HoldBeat' ? 'beat holds its fire: ' : ''
      log.error({ event: 'clock-skewed', held: hold !== '', ...fields }, `${hold}${this.#skewProblem}`)
    }
    if (this.#skewProblem === undefined && before !== undefined)
      log.info({ event: 'clock-agrees', ...fields }, "this machine's clock and the broker's agree again")
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

  /** Reads the cursors, and looks at every schedule once. */
  async #learn(): Promise<void> {
    this.#schedules = new Map(this.#options.source.schedules.map((schedule) => [schedule.name, schedule]))
    const names = new Set(this.#schedules.keys())
    await this.#cursors.learn(names)
    this.#due.reset(names)
    this.#known = true
  }

  async #followAll(names: readonly string[], now: number): Promise<void> {
    const following = names.map(async (name) => {
      const schedule = this.#schedules.get(name)
      if (schedule) await this.#follow(schedule, now)
    })
    const failed = (await Promise.allSettled(following)).find((result) => result.status === 'rejected')
    if (!failed) return
    // What was not followed is found again by what the broker says.
    this.#known = false
    throw asError(failed.reason)
  }

  /** One schedule that may be due. */
  async #follow(schedule: Schedule, now: number): Promise<void> {
    const cursors = this.#cursors.of(schedule.name)
    const plan = planSchedule(schedule, cursors, now, this.#paused.has(schedule.name))
    const ahead = (cursors.broker?.slot ?? 0) - now
    if (ahead > AHEAD_MS) {
      this.#options.log.warn(
        { event: 'cursor-ahead', schedule: schedule.name },
        `the last slot of ${schedule.name} lies ${Math.round(ahead / 1000)} s ahead of the broker's clock, which was wrong or is: it runs again when that is over`,
      )
    }
    let from = plan.from
    for (const move of plan.moves) {
      if (!(await this.#step(schedule, from, move))) return
      from = move.to
    }
    this.#due.add(schedule.name, plan.next ?? Infinity)
    this.#slots.passedOver(schedule, plan.missedSlots, plan.missedCount)
  }

  async #step(schedule: Schedule, from: number | null, move: Move): Promise<boolean> {
    const { store, name } = this.#options
    const fence = this.#leadership.fence
    if (!fence) return this.#relearn()
    const { fingerprint } = schedule.trigger
    const id = uuid5(`taskqueue:${name}/${schedule.name}/${move.to}`)
    const publications = move.run ? this.#messageOf(schedule, move.to, id) : []
    const refused = move.run && publications.length === 0
    const advance: CursorAdvance = {
      schedule: schedule.name,
      from,
      to: move.to,
      missed: move.missed + (refused ? 1 : 0),
      missedSlots: refused ? [...move.missedSlots, move.to] : move.missedSlots,
      fingerprint,
      publications,
    }
    const outcome = await store.advanceCursor(name, fence, advance)
    if (outcome !== 'advanced') {
      if (outcome === 'fenced') this.#leadership.fenced()
      // This machine's clock was set while we were not looking.
      if (outcome === 'early') this.#lookedAt = -Infinity
      return this.#relearn()
    }
    const now = this.brokerClock.now()
    this.#cursors.moved(advance, now)
    for (const { queue } of publications) {
      this.#slots.fired(schedule, move.to, id, now)
      this.#options.onSent?.(schedule, move.to, id, queue)
    }
    return true
  }

  /** What we took for granted is not so: the broker is asked again. */
  #relearn(): false {
    this.#known = false
    return false
  }

  /** The message of a slot; none when the app refuses it, and then the slot is missed and the other schedules go on. */
  #messageOf(schedule: Schedule, slot: number, id: string): Publication[] {
    try {
      return [this.#options.prepare(schedule, slot, id)]
    } catch (error) {
      this.#slots.refused(schedule, slot, error)
      return []
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
