// Fires what is due: plans a schedule, takes each step of its cursor in the broker, and keeps the order in which schedules come due.
// Whether this beat may fire at all, and when it looks around, is beat.ts's.
import { setImmediate as breathe } from 'node:timers/promises'
import type { BrokerClock } from '../broker/broker-clock.ts'
import type { CursorAdvance, Store } from '../broker/store.ts'
import type { Publication } from '../broker/transport.ts'
import type { Clock } from '../clock.ts'
import { BrokerError, TaskQueueError, asError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Schedule } from '../triggers/schedule.ts'
import type { Cursors } from './cursors.ts'
import { DueOrder } from './due-order.ts'
import type { Leadership } from './leadership.ts'
import { planSchedule, type Move } from './plan.ts'
import type { SlotLog } from './slot-log.ts'
import { slotTaskId } from './overdue.ts'

/** Makes the message of a slot: the app's routing, limits and environment apply. */
export type PrepareSlot = (schedule: Schedule, slot: number, id: string) => Publication

export interface DispatcherDeps {
  /** The beat's name in the broker. */
  readonly name: string
  readonly store: Store
  readonly cursors: Cursors
  readonly leadership: Leadership
  readonly slots: SlotLog
  readonly log: Logger
  readonly clock: Clock
  readonly brokerClock: BrokerClock
  readonly prepare: PrepareSlot
  /** Tells monitors of a message that was sent: Celery's task-sent. */
  readonly onSent?: ((schedule: Schedule, slot: number, id: string, queue: string) => void) | undefined
  /** The broker's clock is not what we took it for: it is to be measured. */
  readonly onEarly: () => void
}

/** A step of one schedule's cursor. */
interface Step {
  readonly schedule: Schedule
  readonly advance: CursorAdvance
  readonly id: string
  /** Why the app made no message of the slot; undefined when it did, or when there is none to make. */
  readonly refusal: Error | undefined
}

/** Schedules followed at once: they share one connection. */
const AT_ONCE = 100
/** The first of a turn are begun for so long although the turn should end: planning them may take a slow machine longer than a lease. */
const FIRST_MS = 1000
/** The longest that planning keeps the process from anything else. */
const BREATHE_MS = 20
/** A schedule that could not be fired is tried again after this. */
const RETRY_MS = 1000
/** A cursor so far in the future is worth a word: the broker's clock has been wrong, or is. */
const AHEAD_MS = 60_000

export class Dispatcher {
  readonly #deps: DispatcherDeps
  readonly #due = new DueOrder()
  readonly #problems = new Map<string, string>()
  readonly #unanswered = new Map<string, Step>()
  /** Schedules whose cursor was another than known when it was last to be moved. */
  readonly #suspect = new Set<string>()
  /** The cursors are to be read again once this turn is over. */
  #overtaken = false
  #schedules: ReadonlyMap<string, Schedule> = new Map()
  #known = false
  #breathed = -Infinity

  constructor(deps: DispatcherDeps) {
    this.#deps = deps
  }

  /** False while the cursors are to be read before anything is fired. */
  get known(): boolean {
    return this.#known
  }

  /** When the next schedule is due, on the broker's clock; undefined when none is. */
  get nextAt(): number | undefined {
    return this.#due.nextAt
  }

  /** Why schedules can't be fired, or are silent, by name. The others go on. */
  get problems(): ReadonlyMap<string, string> {
    return this.#problems
  }

  /** What was taken for granted may not be so: the broker is asked before anything is fired. */
  doubt(): void {
    this.#known = false
  }

  /** Reads the cursors, and will look at every schedule once. @throws BrokerError */
  async learn(schedules: readonly Schedule[]): Promise<void> {
    const { cursors, brokerClock } = this.#deps
    this.#schedules = new Map(schedules.map((schedule) => [schedule.name, schedule]))
    await cursors.learn(brokerClock.now(), this.#schedules)
    this.#account()
    for (const kept of [this.#problems, this.#suspect])
      for (const name of kept.keys()) if (!this.#schedules.has(name)) kept.delete(name)
    this.#due.reset(this.#schedules.keys())
    this.#known = true
  }

  /** Finds out about steps whose reply was lost, when this beat doesn't go on. @throws BrokerError */
  async settle(): Promise<void> {
    if (this.#unanswered.size === 0) return
    await this.#deps.cursors.learn(this.#deps.brokerClock.now(), this.#schedules)
    this.#account()
  }

  /** Forgets what is left of schedules that are gone. @throws BrokerError */
  async forgetGone(): Promise<void> {
    const { cursors, leadership, brokerClock } = this.#deps
    if (leadership.fence && this.#known) await cursors.forget(this.#schedules, leadership.fence, brokerClock.now())
  }

  /**
   * Fires what is due.
   * @param enough asked after the first few and between steps: a burst is left for later then
   * @throws BrokerError when the broker is away; what one schedule alone runs into is in `problems`
   */
  async fire(paused: ReadonlySet<string>, enough: () => boolean): Promise<void> {
    let lost: BrokerError | undefined
    const { clock } = this.#deps
    const began = clock.monotonic()
    // The first are begun in any case: however slow the broker is, each turn gets somewhere.
    const go = (first: boolean): boolean => (first && clock.monotonic() - began < FIRST_MS) || !enough()
    for (let first = true; this.#known && lost === undefined && go(first); first = false) {
      const now = this.#deps.brokerClock.now()
      const following: Promise<void>[] = []
      while (following.length < AT_ONCE && go(first)) {
        const name = this.#due.take(now)
        if (name === undefined) break
        const one = this.#follow(name, now, paused.has(name), enough)
        following.push(one.catch((error: unknown) => void (lost = this.#failed(name, error) ?? lost)))
        await this.#breathe()
      }
      if (following.length === 0) break
      await Promise.all(following)
    }
    // What was not followed is found again by what the broker says.
    if (lost !== undefined || this.#overtaken) this.#known = false
    this.#overtaken = false
    if (lost !== undefined) throw lost
  }

  async #breathe(): Promise<void> {
    const { clock } = this.#deps
    if (clock.monotonic() - this.#breathed < BREATHE_MS) return
    await breathe()
    this.#breathed = clock.monotonic()
  }

  /** One schedule that may be due. */
  async #follow(name: string, now: number, paused: boolean, enough: () => boolean): Promise<void> {
    const schedule = this.#schedules.get(name)
    if (!schedule) return
    const plan = planSchedule(schedule, this.#deps.cursors.of(name), now, paused)
    let from = plan.from
    for (const [i, move] of plan.moves.entries()) {
      if (i > 0 && enough()) {
        this.#due.add(name, now + 1)
        return
      }
      if (!(await this.#step(schedule, from, move))) return
      from = move.to
    }
    this.#suspect.delete(name)
    // One that lies in the future is looked at when that is over, though its next slot is later.
    const over = plan.aheadMs > 0 ? now + plan.aheadMs : Infinity
    // What is left of a long downtime comes after what else is due now.
    this.#due.add(name, Math.max(now + 1, Math.min(plan.next ?? Infinity, over)))
    this.#judge(name, plan.aheadMs > AHEAD_MS ? now + plan.aheadMs : undefined)
  }

  /**
   * What it says of a schedule that was followed to its end.
   * @param future its last slot, when that lies in the future
   */
  #judge(name: string, future: number | undefined): void {
    const { log } = this.#deps
    if (future === undefined) {
      if (this.#problems.delete(name)) log.info({ event: 'schedule-recovered', schedule: name }, `${name} fires again`)
      return
    }
    const last = new Date(future).toISOString()
    const problem = `its last slot, ${last}, lies ahead of the broker's clock, which was wrong or is: it runs again when that is over`
    if (!this.#problems.has(name)) log.warn({ event: 'cursor-ahead', schedule: name }, `schedule ${name}: ${problem}`)
    this.#problems.set(name, problem)
  }

  /** @returns the error when it is the broker's and not this schedule's alone */
  #failed(name: string, thrown: unknown): BrokerError | undefined {
    // What the broker refuses has not happened, and is about the keys of this one: a queue of the wrong type, an ACL.
    const refused = thrown instanceof BrokerError && ['BrokerRefused', 'BrokerAuthFailed'].includes(thrown.code)
    if (refused) this.#unanswered.delete(name)
    else if (thrown instanceof BrokerError) return thrown
    const { message } = asError(thrown)
    if (this.#problems.get(name) !== message)
      this.#deps.log.error(
        { event: 'schedule-failed', schedule: name, error: thrown },
        `schedule ${name} can't be fired, trying again: ${message}`,
      )
    this.#problems.set(name, message)
    this.#due.add(name, this.#deps.brokerClock.now() + RETRY_MS)
    // Whatever it was, the step may have been made.
    if (this.#unanswered.has(name)) this.doubt()
    return undefined
  }

  async #step(schedule: Schedule, from: number | null, move: Move): Promise<boolean> {
    const { store, name, leadership } = this.#deps
    const fence = leadership.fence
    if (!fence) return this.#stop()
    const step = this.#stepOf(schedule, from, move)
    this.#unanswered.set(schedule.name, step)
    const outcome = await store.advanceCursor(name, fence, step.advance)
    this.#unanswered.delete(schedule.name)
    if (outcome === 'fenced') leadership.fenced()
    // This machine's clock was set while nobody looked.
    if (outcome === 'early') this.#deps.onEarly()
    if (outcome === 'stale') return this.#stale(schedule.name)
    if (outcome !== 'advanced') return this.#stop()
    this.#done(step)
    return true
  }

  /** Someone else moved the cursor, or it is not what we took it for. The others go on: their own cursors protect them. */
  #stale(name: string): false {
    if (this.#suspect.delete(name)) {
      const problem = 'its cursor in the broker is not what was read a moment ago, and only this beat may move it'
      this.#failed(name, new TaskQueueError('CursorMoved', problem))
    } else {
      this.#suspect.add(name)
      this.#overtaken = true
    }
    return false
  }

  #stop(): false {
    this.doubt()
    return false
  }

  #stepOf(schedule: Schedule, from: number | null, { to, run, missed, missedSlots }: Move): Step {
    const id = slotTaskId(this.#deps.name, schedule.name, to)
    const publications: Publication[] = []
    let refusal: Error | undefined
    if (run) {
      try {
        publications.push(this.#deps.prepare(schedule, to, id))
      } catch (error) {
        // Its slot is missed, and its later ones and the other schedules go on.
        refusal = asError(error)
      }
    }
    const lost = run && publications.length === 0
    const advance: CursorAdvance = {
      schedule: schedule.name,
      from,
      to,
      missed: missed + (lost ? 1 : 0),
      missedSlots: lost ? [...missedSlots, to] : missedSlots,
      fingerprint: schedule.trigger.fingerprint,
      publications,
    }
    return { schedule, advance, id, refusal }
  }

  /** Notes a step that was made, and tells of its slots. */
  #done(step: Step): void {
    const now = this.#deps.brokerClock.now()
    this.#deps.cursors.moved(step.advance, now)
    this.#tellMissed(step)
    this.#tellFired(step, now)
  }

  /** @param now the broker's clock when it was published */
  #tellFired({ schedule, advance, id }: Step, now: number): void {
    for (const { queue } of advance.publications) {
      this.#deps.slots.fired(schedule, advance.to, id, now)
      this.#deps.onSent?.(schedule, advance.to, id, queue)
    }
  }

  #tellMissed({ schedule, advance, refusal }: Step): void {
    const { slots, brokerClock } = this.#deps
    const now = brokerClock.now()
    const before = refusal ? advance.missedSlots.slice(0, -1) : advance.missedSlots
    slots.passedOver(schedule, before, advance.missed - (refusal ? 1 : 0), now)
    if (refusal) slots.refused(schedule, advance.to, refusal, now)
  }

  /**
   * Tells of the steps whose reply was lost and which were made after all. When another beat has moved on from there meanwhile nobody
   * can know; missed slots are told again then rather than not at all.
   */
  #account(): void {
    const { cursors, brokerClock } = this.#deps
    for (const step of this.#unanswered.values()) {
      const { schedule, advance } = step
      const { broker } = cursors.of(schedule.name)
      if (broker?.fingerprint !== advance.fingerprint || broker.slot < advance.to) continue
      this.#tellMissed(step)
      if (broker.slot === advance.to) this.#tellFired(step, broker.firedAt ?? brokerClock.now())
    }
    this.#unanswered.clear()
  }
}
