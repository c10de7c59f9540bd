// The rounds of patrol: `taskqueue patrol`, for each TaskQueue, on the connection by which the inspector looks at its broker. Tells
// only what changed. Not what follows from it: that is patrolfinding.ts and stalled.ts.

import { createHash } from 'node:crypto'
import { presenceKey, type BrokerConnection } from '@taskqueue/runtime/broker'
import { look, ordered, Patrol, type Finding } from '@taskqueue/runtime/patrol'
import { parseSchedules, type Schedule } from '@taskqueue/runtime/triggers'
import type { Clock } from '../clock.ts'
import { messageOf } from '../errors.ts'
import type { ObjectKey } from '../objects.ts'
import type { DeadLetters, PatrolObservation } from './observation.ts'
import { START_SECONDS, type PatrolTarget } from './patroltarget.ts'
import { brokerOf, sharedQueues, type Consuming } from './sharedqueues.ts'
import { Surveys } from './surveys.ts'

export interface PatrolOptions {
  /** Between two looks at one TaskQueue. Milliseconds, like all that follows. */
  readonly everyMs: number
  /** The same where stalledSeconds is short. */
  readonly leastMs: number
  /** How long workers may take to answer. */
  readonly askMs: number
  /** Between two figures of dead letters for status: each is a write. */
  readonly deadLettersMs: number
}

const DEFAULTS: PatrolOptions = { everyMs: 30_000, leastMs: 5_000, askMs: 2_000, deadLettersMs: 30_000 }

/** Below it a quarter is needed, or a consumer that stalls would be seen late. Seconds. */
const SHORT_STALL_SECONDS = 60

/** A look may come earlier by this part of its period: it waits for the inspector's own. */
const EARLY = 0.2
/** An answer of workers serves others who look within this part of their period: never two looks of one of them. */
const SHARED = 0.25

/** Schedules that are read without a pause. */
const SLICE = 50

/** What is asked for by suspend. */
const ASKED_FOR: ReadonlySet<Finding['code']> = new Set(['QueueWithoutConsumer', 'ConsumerStalled', 'ConsumerIdle'])

interface Rounds extends Consuming {
  /** Of the target: a change begins anew. */
  readonly hash: string
  readonly target: PatrolTarget
  broker: string | undefined
  readonly periodMs: number
  readonly patrol: Patrol
  latest: PatrolObservation | undefined
  /** Wall-clock time of the last look that saw something, in milliseconds. */
  lookedAt: number | undefined
  nextAt: number
  running: boolean
  deadLetters: { readonly value: DeadLetters | undefined; readonly at: number } | undefined
}

/** One TaskQueue's patrol, for metrics. */
export interface PatrolFigures {
  readonly key: ObjectKey
  readonly latest: PatrolObservation | undefined
  readonly lookedAt: number | undefined
}

export class Patrols {
  readonly #onChange: (key: ObjectKey) => void
  readonly #clock: Clock
  readonly #options: PatrolOptions
  readonly #surveys: Surveys
  readonly #rounds = new Map<ObjectKey, Rounds>()

  constructor(onChange: (key: ObjectKey) => void, clock: Clock, options: Partial<PatrolOptions> = {}) {
    this.#onChange = onChange
    this.#clock = clock
    this.#options = { ...DEFAULTS, ...options }
    this.#surveys = new Surveys(clock, this.#options.askMs)
  }

  /** Judges this from now on. What was seen before by other measures is forgotten. */
  follow(key: ObjectKey, target: PatrolTarget): void {
    const hash = createHash('sha256').update(JSON.stringify(target)).digest('base64')
    const before = this.#rounds.get(key)
    if (before?.hash === hash) return
    const { limits, startedByBacklog } = target
    const periodMs = this.#periodOf(limits.stalledSeconds)
    const startSeconds = new Map(startedByBacklog.map((queue) => [queue, START_SECONDS]))
    this.#rounds.set(key, {
      hash,
      target,
      broker: before?.broker,
      periodMs,
      patrol: new Patrol({ ...limits, startSeconds }),
      latest: undefined,
      lookedAt: before?.lookedAt,
      // Not all at once after a start.
      nextAt: this.#clock.monotonic() + Math.random() * periodMs,
      running: false,
      deadLetters: before?.deadLetters,
    })
  }

  /** Between two looks at this TaskQueue; undefined while it is not followed. Milliseconds. */
  periodMs(key: ObjectKey): number | undefined {
    return this.#rounds.get(key)?.periodMs
  }

  latest(key: ObjectKey): PatrolObservation | undefined {
    return this.#rounds.get(key)?.latest
  }

  forget(key: ObjectKey): void {
    this.#rounds.delete(key)
  }

  *figures(): Iterable<PatrolFigures> {
    for (const [key, { latest, lookedAt }] of this.#rounds) yield { key, latest, lookedAt }
  }

  /**
   * The broker answers: looks, when it is time to. Whoever calls need not wait.
   * @param url by which the connection was made
   */
  async visit(key: ObjectKey, connection: BrokerConnection, url: string): Promise<void> {
    const rounds = this.#rounds.get(key)
    if (rounds) rounds.broker = brokerOf(url)
    const now = this.#clock.monotonic()
    if (!rounds || rounds.running || now < rounds.nextAt - rounds.periodMs * EARLY) return
    rounds.running = true
    rounds.nextAt = now + rounds.periodMs
    try {
      await this.#look(key, rounds, connection)
    } catch (error) {
      this.#blind(key, rounds, messageOf(error))
    } finally {
      rounds.running = false
    }
  }

  /** The broker does not answer: nothing is known any more. */
  blind(key: ObjectKey, why: string): void {
    const rounds = this.#rounds.get(key)
    if (rounds) this.#blind(key, rounds, why)
  }

  async #look(key: ObjectKey, rounds: Rounds, connection: BrokerConnection): Promise<void> {
    const { target, patrol, periodMs } = rounds
    const told = await this.#surveys.of(connection, periodMs * SHARED)
    const seen = await look(
      {
        store: connection,
        transport: connection,
        clock: this.#clock,
        queues: target.queues,
        // Others' queues are others' business.
        allQueues: false,
        defaultQueue: target.defaultQueue,
        presenceKey: presenceKey(target),
        beat: `${target.namespace}/${target.name}`,
        schedules: await schedulesOf(target),
        askMs: this.#options.askMs,
      },
      told,
    )
    const all = ordered([...patrol.see(seen), ...sharedQueues(rounds, this.#rounds.values())])
    const findings = all.filter(({ code }) => !target.suspended || !ASKED_FOR.has(code))
    rounds.lookedAt = this.#clock.now().getTime()
    // Standing still is seen by comparing.
    if (patrol.looks < 2) return
    this.#tell(key, rounds, {
      known: true,
      at: this.#clock.monotonic(),
      findings,
      stalled: target.suspended ? [] : patrol.stalled,
      deadLetters: this.#deadLetters(rounds, seen.deadLetters),
    })
  }

  /** The figure for status, no newer than is worth a write. */
  #deadLetters(
    rounds: Rounds,
    told: { readonly known: true; readonly value: DeadLetters } | { readonly known: false },
  ): DeadLetters | undefined {
    const now = this.#clock.monotonic()
    const last = rounds.deadLetters
    if (last && now - last.at < this.#options.deadLettersMs) return last.value
    const value = told.known ? told.value : undefined
    rounds.deadLetters = { value, at: now }
    return value
  }

  #blind(key: ObjectKey, rounds: Rounds, why: string): void {
    this.#tell(key, rounds, { known: false, findings: rounds.patrol.blind(why) })
  }

  #tell(key: ObjectKey, rounds: Rounds, observation: PatrolObservation): void {
    // Somebody looks by other measures by now, or nobody does.
    if (this.#rounds.get(key) !== rounds) return
    // What stands still is told by each look: what is done about it goes by what was seen just now.
    const stands = observation.known && observation.stalled.length > 0
    const news = stands || fingerprint(observation) !== fingerprint(rounds.latest)
    rounds.latest = observation
    if (news) this.#onChange(key)
  }

  #periodOf(stalledSeconds: number): number {
    const { everyMs, leastMs } = this.#options
    if (stalledSeconds >= SHORT_STALL_SECONDS) return everyMs
    return Math.min(everyMs, Math.max(leastMs, stalledSeconds * 250))
  }
}

/** Read anew each time: a cron line that is read takes more memory than it takes time. In parts, so that nobody waits for thousands. */
async function schedulesOf({ schedules, timeZone }: PatrolTarget): Promise<Schedule[]> {
  const read: Schedule[] = []
  for (let at = 0; at < schedules.length; at += SLICE) {
    if (at > 0) await new Promise((resolve) => setImmediate(resolve))
    read.push(...parseSchedules(schedules.slice(at, at + SLICE), timeZone))
  }
  return read
}

/** Equal for observations from which the same follows. That nobody could look is the same for whatever reason. */
function fingerprint(observation: PatrolObservation | undefined): string {
  if (!observation?.known) return JSON.stringify(observation?.known ?? null)
  const { findings, stalled, deadLetters } = observation
  return JSON.stringify([findings, stalled, deadLetters])
}
