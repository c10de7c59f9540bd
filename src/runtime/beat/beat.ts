// Beat: publishes the slots of schedules as they come due. Any number may run; the lease lets one fire, and each slot is one
// atomic step in the broker (advance-cursor.lua), so that no two publish it and none is lost without being counted. Here are its turns,
// what it looks at, and what it says of itself; the steps are dispatcher.ts's.
import { hostname } from 'node:os'
import { BrokerClock } from '../broker/broker-clock.ts'
import type { Store } from '../broker/store.ts'
import type { Clock, Timer } from '../clock.ts'
import { asError } from '../errors.ts'
import type { Health, HealthSource } from '../health/server.ts'
import { createRegistry } from '../health/task-metrics.ts'
import type { Logger } from '../log.ts'
import { uuid4 } from '../protocol/uuid.ts'
import { skewProblem, type ClockLimit } from './clock-guard.ts'
import { Cursors } from './cursors.ts'
import { Dispatcher, type DispatcherDeps, type PrepareSlot } from './dispatcher.ts'
import { LOOK_MS, Leadership } from './leadership.ts'
import type { SchedulesSource } from './schedules-source.ts'
import { SlotLog, type OnMissed } from './slot-log.ts'

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
  readonly onSent?: DispatcherDeps['onSent']
  readonly onMissed?: OnMissed
}

/** The longest a due slot waits for the next turn when nothing else is known. */
const TURN_MS = 1000
/** Before looking again when someone else moved a cursor: whatever the reason, it must not be a hot loop. */
const RELEARN_MS = 100
/** A beat whose last turn is older than this is stuck. */
const STUCK_MS = 60_000
/** A beat that stands by takes the broker's cursors over into its schedule file so often: it may have to go on from there. */
const STANDBY_LEARN_MS = 30_000
/** Problems of schedules that are told by name. */
const MOST_TOLD = 5

export class Beat implements HealthSource {
  readonly metrics = createRegistry()
  readonly brokerClock: BrokerClock
  readonly #options: BeatOptions
  readonly #leadership: Leadership
  readonly #cursors: Cursors
  readonly #slots: SlotLog
  readonly #dispatcher: Dispatcher
  #paused: ReadonlySet<string> = new Set()
  #timer: Timer | undefined
  #turning: Promise<void> = Promise.resolve()
  #stopped = false
  #lookedAt = -Infinity
  #learntAt = -Infinity
  #lastTurn: number
  /** The broker's clock at the last turn that looked at what is due. */
  #lastTickAt: number | null = null
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
    const gauges = {
      leader: () => this.#leadership.standing === 'leader',
      held: () => this.#held !== undefined,
      schedules: () => source.schedules.length,
    }
    this.#slots = new SlotLog(log, this.metrics, gauges, options.onMissed)
    this.#dispatcher = new Dispatcher({
      ...{ name, store, log, clock, brokerClock: this.brokerClock, leadership: this.#leadership },
      ...{ cursors: this.#cursors, slots: this.#slots, prepare: options.prepare, onSent: options.onSent },
      onEarly: () => (this.#lookedAt = -Infinity),
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
    if (this.#brokerProblem !== undefined) return { ok: false, message: this.#brokerProblem, detail }
    if (!this.#loaded) return { ok: false, message: this.#problem ?? 'the schedules are not loaded yet', detail }
    const role = standing === 'leader' ? 'holds the lease' : `stands by for ${leader}`
    const problems = [
      this.#problem && `the last good schedules are kept: ${this.#problem}`,
      this.#cursors.fileProblem,
      this.#skewProblem,
      ...[...this.#dispatcher.problems].slice(0, MOST_TOLD).map(([name, problem]) => `schedule ${name}: ${problem}`),
    ].filter((text) => text !== undefined)
    return { ok: true, message: [`${role}, ${source.schedules.length} schedules`, ...problems].join('; '), detail }
  }

  /** What presence and the probe say beyond the message. */
  detail(): Readonly<Record<string, unknown>> {
    const { source } = this.#options
    return {
      lease: this.#leadership.standing,
      leaseHolder: holderName(this.#leadership.leader),
      lastTickAt: this.#lastTickAt,
      nextRunAt: Number.isFinite(this.#dispatcher.nextAt) ? this.#dispatcher.nextAt : null,
      held: this.#held ?? null,
      schedules: source.schedules.length,
      paused: source.schedules.filter(({ name }) => this.#paused.has(name)).map(({ name }) => name),
      schedulesHash: source.hash,
      schedulesProblem: this.#problem ?? null,
      scheduleFileProblem: this.#cursors.fileProblem ?? null,
      failing: Object.fromEntries([...this.#dispatcher.problems].slice(0, MOST_TOLD)),
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
    await this.#dispatcher.settle().catch(() => undefined)
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
          (looked) => {
            // A turn that asked nothing shows nothing.
            if (looked) this.#recovered()
          },
          (error: unknown) => this.#trouble(error),
        )
        .finally(() => {
          this.#lastTurn = this.#options.clock.monotonic()
          // Also after a turn that failed: what moved before it did is worth keeping.
          this.#cursors.saveSoon()
          this.#schedule(this.#untilNext())
        })
    })
  }

  #untilNext(): number {
    if (this.#leadership.standing !== 'leader' || this.#brokerProblem !== undefined) return TURN_MS
    if (!this.#dispatcher.known) return RELEARN_MS
    const wait = (this.#dispatcher.nextAt ?? Infinity) - this.brokerClock.now()
    return Math.max(0, Math.min(TURN_MS, Math.ceil(wait)))
  }

  /** @returns whether it looked around */
  async #turn(): Promise<boolean> {
    const looks = this.#lookIsDue
    if (looks) await this.#look()
    if (this.#held !== undefined || !this.#leadership.fence || !this.#loaded) return looks
    if (!this.#dispatcher.known) await this.#dispatcher.learn(this.#options.source.schedules)
    // A burst longer than the time between looks is left for the next turn, which comes at once: the lease must be renewed.
    await this.#dispatcher.fire(this.#paused, () => this.#stopped || this.#lookIsDue)
    this.#lastTickAt = this.brokerClock.now()
    return looks
  }

  get #lookIsDue(): boolean {
    return this.#options.clock.monotonic() - this.#lookedAt >= LOOK_MS
  }

  /** Looks at everything that may have changed outside: schedules, the broker's clock, the lease, what is paused. */
  async #look(): Promise<void> {
    const { log, store, name } = this.#options
    await this.#reload()
    this.brokerClock.correct(await store.time())
    this.#judgeClocks()
    if (this.#held !== undefined) {
      this.#hasLooked()
      // Another beat, on a machine whose clock is right, may fire meanwhile.
      await this.#leadership.release()
      return
    }
    const { gained, lost } = await this.#leadership.look()
    if (gained) this.#dispatcher.doubt()
    if (this.#leadership.standing === 'standby') await this.#standBy()
    else await this.#dispatcher.forgetGone()
    this.#paused = await store.readPausedSchedules(name)
    if (gained) log.info({ event: 'beat-leader' }, 'this beat holds the lease and fires')
    // From its end on: however long it takes, there is time to fire before the next.
    this.#hasLooked()
    if (lost) log.warn({ event: 'beat-standby', leader: this.#leadership.leader }, 'the lease is lost; standing by')
  }

  #judgeClocks(): void {
    const { clockLimit, log } = this.#options
    const before = this.#skewProblem
    this.#skewProblem = skewProblem(this.brokerClock.offset, clockLimit, before !== undefined)
    const fields = { offsetSeconds: this.brokerClock.offset.seconds }
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
    // A file that is bad from the start costs the app's own schedules nothing.
    if (problem === undefined || source.schedules.length > 0) this.#loaded = true
    if (!changed) return
    if (problem !== undefined) {
      log.error(
        { event: 'schedules-invalid', reason: problem },
        `the schedules can't be used, the last good ones are kept: ${problem}`,
      )
      return
    }
    this.#dispatcher.doubt()
    log.info(
      { event: 'schedules-loaded', schedules: source.schedules.length, hash: source.hash },
      `${source.schedules.length} schedules loaded`,
    )
  }

  #hasLooked(): void {
    this.#lookedAt = this.#options.clock.monotonic()
  }

  async #standBy(): Promise<void> {
    await this.#dispatcher.settle()
    const now = this.#options.clock.monotonic()
    if (this.#options.scheduleFile === undefined || now - this.#learntAt < STANDBY_LEARN_MS) return
    this.#learntAt = now
    await this.#cursors.learn(this.brokerClock.now(), this.#names)
  }

  get #names(): ReadonlySet<string> {
    return new Set(this.#options.source.schedules.map(({ name }) => name))
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

/** Of a holder `<host>:<process>:<id>`, the host, which in Kubernetes is the pod. */
function holderName(holder: string): string | null {
  return holder === '' ? null : (holder.split(':')[0] ?? holder)
}
