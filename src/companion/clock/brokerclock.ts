// Measures this machine's clock against the broker's and says it in the TaskQueue's presence hash, with what is known of a Celery worker
// beside us, again and again, through whatever happens to the broker. Not a judge: what an offset means is the operator's to say.

import { setTimeout as delay } from 'node:timers/promises'
import {
  PRESENCE_EVERY_MS,
  PRESENCE_TTL_SECONDS,
  connectBroker,
  presenceKey,
  type BrokerConnection,
} from '@taskqueue/runtime/broker'
import { VERSION } from '@taskqueue/runtime/version'
import type { CeleryDrain } from '../draining.ts'
import type { PoolWatch } from '../poolwatch.ts'
import type { RegisteredTasks } from '../registered.ts'
import type { Settings } from '../settings.ts'
import { current, type Measurement } from './measurement.ts'

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

export type Report = (level: 'info' | 'warn', message: string) => void

export class BrokerClock {
  readonly #settings: Settings
  readonly #report: Report
  readonly #celery: CeleryWorker | undefined
  #connection: BrokerConnection | undefined
  #measurement: Measurement | undefined
  #counter = 0
  /** Whether the pod is to go. */
  #wanted = false
  #failures = 0
  #trouble: string | undefined

  /** @param celery the worker beside us, of which is told with the clock */
  constructor(settings: Settings, report: Report, celery?: CeleryWorker) {
    this.#settings = settings
    this.#report = report
    this.#celery = celery
  }

  /** The last measurement that still means something. */
  get measurement(): Measurement | undefined {
    return current(this.#measurement, performance.now())
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
      await delay(this.#pause(), undefined, { signal }).catch(() => undefined)
    }
    if (!this.#celery?.drain.remembers)
      await this.#connection?.removePresence(this.#key, this.#id).catch(() => undefined)
    await this.#drop()
  }

  async #look(): Promise<void> {
    this.#connection ??= await connectBroker(this.#settings.brokerUrl, {
      timeouts: { connectMs: 3_000, commandMs: 3_000 },
    })
    const { offsetMs, errorMs } = await this.#connection.time()
    this.#measurement = { offsetSeconds: offsetMs / 1000, errorSeconds: errorMs / 1000, at: performance.now() }
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
        },
      },
      PRESENCE_TTL_SECONDS,
    )
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

  #pause(): number {
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
