// Measures this machine's clock against the broker's and says it in the TaskQueue's presence hash, with what is known of a Celery worker
// beside us, again and again, through whatever happens to the broker. Not a judge: what an offset means is the operator's to say.

import {
  PRESENCE_EVERY_MS,
  PRESENCE_TTL_SECONDS,
  connectBroker,
  presenceKey,
  type AgedBeatClock,
  type BrokerConnection,
} from '@taskqueue/runtime/broker'
import { VERSION } from '@taskqueue/runtime/version'
import type { CeleryDrain } from '../draining.ts'
import type { PoolWatch } from '../poolwatch.ts'
import type { RegisteredTasks } from '../registered.ts'
import type { Settings } from '../settings.ts'
import { STALE_MS, current, type Measurement } from './measurement.ts'
import { Pause } from './pause.ts'
import type { Report } from './trouble.ts'

/** A look every so often: the operator calls an entry stale after 30 s, and the SKEW column shall follow a step within 15 s. */
const INTERVAL_MS = 10_000
/** While the worker drains: the operator waits for it. */
const DRAINING_INTERVAL_MS = 2_000
const MAX_BACKOFF_MS = 30_000

/** The Celery worker of this pod, as far as it is asked. */
export interface CeleryWorker {
  readonly pool: PoolWatch | undefined
  readonly registered: RegisteredTasks
  readonly drain: CeleryDrain
}

/** What is told in the presence hash beside the clock. */
export interface BesideTheClock {
  readonly celery?: CeleryWorker | undefined
  /** What other clocks say, for the entry's detail. */
  readonly detail: () => Readonly<Record<string, unknown>>
}

export class BrokerClock {
  readonly #settings: Settings
  readonly #report: Report
  readonly #celery: CeleryWorker | undefined
  readonly #detail: BesideTheClock['detail']
  readonly #pause = new Pause()
  #connection: BrokerConnection | undefined
  #measurement: Measurement | undefined
  #beat: { readonly said: AgedBeatClock; readonly at: number } | undefined
  /** Grows when this machine's clock was set: what was measured before means nothing then. */
  #epoch = 0
  #counter = 0
  /** Whether the pod is to go. */
  #wanted = false
  #failures = 0
  #trouble: string | undefined

  constructor(settings: Settings, report: Report, { celery, detail }: BesideTheClock) {
    this.#settings = settings
    this.#report = report
    this.#celery = celery
    this.#detail = detail
  }

  /** The last measurement that still means something. */
  get measurement(): Measurement | undefined {
    return current(this.#measurement, performance.now())
  }

  /** What beat's companion said last of its machine, against the broker; undefined when that is too old. */
  get beat(): AgedBeatClock | undefined {
    if (!this.#beat) return undefined
    const ageSeconds = this.#beat.said.ageSeconds + (performance.now() - this.#beat.at) / 1000
    return ageSeconds * 1000 <= STALE_MS ? { ...this.#beat.said, ageSeconds } : undefined
  }

  /** Looks and tells at once: there is something new for the presence hash. */
  lookAgain(): void {
    this.#pause.cut()
  }

  /** The clock was set: what was measured is forgotten, and measured again at once. */
  measureAgain(): void {
    this.#epoch++
    this.#measurement = undefined
    this.lookAgain()
  }

  /** Why there is none; undefined while all is well. */
  get trouble(): string | undefined {
    return this.#trouble
  }

  /** Measures until the signal aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#look()
        if (this.#trouble !== undefined) this.#report('info', 'The broker answers again.')
        this.#trouble = undefined
        this.#failures = 0
      } catch (error) {
        this.#failures++
        const message = error instanceof Error ? error.message : String(error)
        if (this.#trouble !== message) this.#report('warn', `The broker's clock can not be read: ${message}`)
        this.#trouble = message
        await this.#drop()
      }
      await this.#pause.wait(this.#pauseMs(), signal)
    }
    if (!this.#celery?.drain.remembers)
      await this.#connection?.removePresence(this.#key, this.#id).catch(() => undefined)
    await this.#drop()
  }

  async #look(): Promise<void> {
    this.#connection ??= await connectBroker(this.#settings.brokerUrl, {
      timeouts: { connectMs: 3_000, commandMs: 3_000 },
    })
    const epoch = this.#epoch
    const { offsetMs, errorMs } = await this.#connection.time()
    // Set meanwhile: the next look follows at once.
    if (epoch !== this.#epoch) return
    this.#measurement = { offsetSeconds: offsetMs / 1000, errorSeconds: errorMs / 1000, at: performance.now() }
    await this.#shareBeat(this.#connection, this.#measurement)
    if (this.#celery) await this.#followWorker(this.#connection, this.#celery)
    this.#counter++
    const tasks = this.#celery?.registered.names
    const drain = this.#celery?.drain.state
    await this.#connection.writePresence(
      this.#key,
      {
        id: this.#id,
        counter: this.#counter,
        kind: 'companion',
        hostname: this.#settings.nodeName.replace(/^[^@]*@/, ''),
        pid: process.pid,
        version: VERSION,
        offsetSeconds: Math.round(offsetMs) / 1000,
        offsetErrorSeconds: Math.round(errorMs) / 1000,
        busySlots: drain?.busy ?? 0,
        slots: 0,
        queues: drain?.queues ?? [],
        processed: 0,
        lastProgressAt: null,
        detail: {
          ...(tasks ? { tasks } : {}),
          ...(drain ? { draining: drain.draining } : {}),
          ...this.#celery?.pool?.detail,
          ...this.#detail(),
        },
      },
      PRESENCE_TTL_SECONDS,
    )
  }

  /** Beat's companion says how its machine stands to the broker; everyone reads that. */
  async #shareBeat(connection: BrokerConnection, { offsetSeconds, errorSeconds }: Measurement): Promise<void> {
    if (this.#settings.component === 'beat') await connection.writeBeatClock(this.#key, { offsetSeconds, errorSeconds })
    const said = await connection.readBeatClock(this.#key)
    this.#beat = said && { said, at: performance.now() }
  }

  async #followWorker(connection: BrokerConnection, { registered, drain, pool }: CeleryWorker): Promise<void> {
    registered.refresh()
    pool?.refresh()
    if (this.#counter === 0) {
      // A companion that was restarted meanwhile must not leave the worker without its queues.
      const before = (await connection.readPresence(this.#key)).find(({ id }) => id === this.#id)
      drain.restore(before?.queues ?? [])
      pool?.restore(before?.detail)
    }
    this.#wanted = await connection.readDraining(this.#key, this.#settings.podUid)
    drain.follow(this.#wanted)
  }

  #pauseMs(): number {
    const drains = this.#wanted || this.#celery?.drain.state?.draining === true
    const interval = drains ? DRAINING_INTERVAL_MS : this.#celery ? PRESENCE_EVERY_MS : INTERVAL_MS
    const base = this.#failures === 0 ? interval : Math.min(MAX_BACKOFF_MS, 1000 * 2 ** Math.min(this.#failures, 10))
    return base * (0.8 + Math.random() * 0.4)
  }

  get #key(): string {
    return presenceKey(this.#settings)
  }

  /** A field of its own beside the worker's: two containers of a pod write independently. */
  get #id(): string {
    return `${this.#settings.podUid}/companion`
  }

  async #drop(): Promise<void> {
    const connection = this.#connection
    this.#connection = undefined
    await connection?.close().catch(() => undefined)
  }
}
