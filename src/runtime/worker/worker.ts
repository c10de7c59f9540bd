// A worker process without the process: consumes, runs, reports, stops. Signals, exit codes and the health port belong to
// the command line (cli/worker.ts).
import { hostname, loadavg } from 'node:os'
import type { TaskApp } from '../app.ts'
import { BrokerClock } from '../broker/broker-clock.ts'
import { RedisTransport } from '../broker/redis/transport.ts'
import { describeBroker } from '../broker/redis/url.ts'
import { RedisStore } from '../broker/redis/store.ts'
import type { Consumer } from '../broker/transport.ts'
import { pause, systemClock, type Clock, type Timer } from '../clock.ts'
import { Pidbox } from '../control/pidbox.ts'
import { inspectMethods, steeringMethods, type WorkerSteering, type WorkerView } from '../control/worker-methods.ts'
import { EventSender } from '../events/event-sender.ts'
import { LamportClock } from '../events/lamport.ts'
import { TaskEvents } from '../events/task-events.ts'
import { MOST_TASKS_TOLD } from '../broker/presence.ts'
import type { LoopNotes } from '../health/loop-notes.ts'
import { PresenceWriter } from '../health/presence-writer.ts'
import { createRegistry, createTaskMetrics } from '../health/task-metrics.ts'
import type { Health, HealthSource } from '../health/server.ts'
import { SETTLE_MS } from '../listeners.ts'
import type { Logger } from '../log.ts'
import { placeFields } from '../log-fields.ts'
import { celeryNames } from '../control/configuration.ts'
import { VERSION } from '../version.ts'
import { withBuiltins } from './builtin-tasks.ts'
import { InlinePool, type TaskPool } from './pool.ts'
import { MOST_REVOKED, REVOKED_FOR_MS } from './revocations.ts'
import { tellRevoked } from './revoked-results.ts'
import { TaskRunner, type RunnerDeps } from './runner.ts'

export interface WorkerOptions {
  readonly app: TaskApp
  readonly log: Logger
  readonly queues: readonly string[]
  readonly concurrency: number
  /** `celery@<hostname>` by default. */
  readonly hostname?: string | undefined
  /** Send task events from the start. */
  readonly events?: boolean | undefined
  readonly clock?: Clock
  readonly random?: () => number
  /** Someone sent `shutdown` over remote control. */
  readonly onShutdownRequest?: () => void
  /** A task can't be ended otherwise: stop(0), and exit with 1. */
  readonly onHardLimit?: () => void
  /** Where handlers run; the worker's own event loop by default. */
  readonly pool?: TaskPool
  /** Where it is noted what runs on this event loop. */
  readonly loopNotes?: LoopNotes
}

/** Celery's `freq`: monitors take a worker as gone after twice that. */
const HEARTBEAT_MS = 2000
/** How long a worker waits, before it takes anything, to hear whether its pod is to go. */
const FIRST_LOOK_MS = 1000
/** With free slots and a connected broker, a worker whose last round trip is older than this is stuck. */
const STUCK_MS = 60_000
const FLUSH_MS = 5000
/** How long onStop hooks may take. */
const HOOKS_MS = 6000
/** Remote control may let a worker grow up to here, or to what it began with. */
export const MAX_CONCURRENCY = 1000

export class TaskWorker implements HealthSource {
  readonly hostname: string
  readonly metrics = createRegistry()
  readonly runner: TaskRunner
  readonly events: TaskEvents
  readonly options: WorkerOptions
  readonly lamport = new LamportClock()
  /** Monotonic milliseconds. */
  readonly startedAt: number
  readonly #clock: Clock
  readonly #log: Logger
  readonly #transport: RedisTransport
  readonly #store: RedisStore
  readonly #results: RedisStore
  readonly #sender: EventSender
  readonly #pool: TaskPool
  readonly #presence: PresenceWriter
  readonly #brokerClock: BrokerClock
  #consumer: Consumer | undefined
  #pidbox: Pidbox | undefined
  #heartbeat: Timer | undefined
  #stopping = false
  #draining = false
  /** When it was last told to take again. */
  #resumedAt = 0
  #idleWaiters: (() => void)[] = []
  #connectedSince: number | undefined
  #queues: readonly string[]
  #concurrency: number
  /** As the broker counted them last, some seconds ago. */
  #deadLetters = 0

  constructor(options: WorkerOptions) {
    const { app, clock = systemClock, random = Math.random } = options
    const { settings } = app
    this.options = options
    this.#queues = options.queues
    this.#concurrency = options.concurrency
    this.hostname = options.hostname ?? `celery@${hostname()}`
    this.#clock = clock
    this.startedAt = clock.monotonic()
    this.#log = options.log.child({ worker: this.hostname })
    this.#brokerClock = new BrokerClock(clock)
    const onHookError = (error: unknown): void =>
      this.#log.error({ event: 'hook-failed', error }, 'an onStop hook failed')
    this.#pool = options.pool ?? new InlinePool(app, onHookError)
    this.#transport = new RedisTransport({
      url: settings.brokerUrl,
      keyPrefix: settings.keyPrefix,
      visibilityTimeoutSeconds: settings.visibilityTimeoutSeconds,
      logFields: { service: app.name, component: 'worker', ...placeFields(process.env), worker: this.hostname },
      clock,
      random,
      onTrouble: (message) => this.#log.warn({ event: 'broker-trouble' }, message),
      dead: {
        most: settings.deadMax,
        seconds: settings.deadMaxAgeSeconds,
        onCount: (count, forgotten) => this.#countDead(count, forgotten),
      },
    })
    const { keyPrefix } = settings
    this.#results = new RedisStore({ url: settings.resultUrl, keyPrefix })
    this.#store = this.#together ? this.#results : new RedisStore({ url: settings.brokerUrl, keyPrefix })
    this.#sender = new EventSender(this.#transport, this.hostname, clock, this.lamport)
    this.events = new TaskEvents(this.#sender, options.events ?? false)
    const metrics = createTaskMetrics(this.metrics, {
      running: () => this.runner.running.size,
      slots: () => this.#concurrency,
      deadLetters: () => this.#deadLetters,
      brokerConnected: () => this.#transport.state().connected,
    })
    this.runner = new TaskRunner({
      tasks: withBuiltins(app.tasks),
      settings,
      worker: this.hostname,
      log: this.#log,
      clock,
      brokerClock: this.#brokerClock,
      random,
      events: this.events,
      metrics,
      retryQueue: (queue) => app.route(queue),
      listeners: app.listeners,
      tracing: app.tracing,
      settle: (outcome, queue) => this.#consumer?.settle(outcome, queue),
      release: () => this.#release(),
      onHardLimit: () => options.onHardLimit?.(),
      noteRunning: this.#noteRunning(options),
      limitLease: (token, seconds) => this.#consumer?.limitLease(token, seconds * 1000),
      pool: this.#pool,
      results: this.#results,
      queueOf: (task, queue) => app.route(queue ?? app.tasks.get(task)?.options.queue),
      resultsInOutcome: this.#together,
    })
    this.#presence = new PresenceWriter({
      store: this.#store,
      brokerClock: this.#brokerClock,
      clock,
      kind: 'worker',
      settings,
      appName: app.name,
      facts: () => ({
        busySlots: Math.max(this.runner.running.size, this.runner.idle ? 0 : 1),
        slots: this.#concurrency,
        queues: this.#queues,
        processed: this.runner.processed,
        lastProgressAt: this.runner.lastProgressAt,
        ...(app.tasks.size <= MOST_TASKS_TOLD ? { detail: { tasks: [...app.tasks.keys()].toSorted() } } : {}),
      }),
      onDrain: (draining) => this.#drain(draining),
    })
  }

  /** Tasks of another pool hold no event loop of ours. */
  #noteRunning({ app, loopNotes, pool }: WorkerOptions): RunnerDeps['noteRunning'] {
    if (!loopNotes || pool) return undefined
    const { maxTaskSeconds } = app.settings
    const fallback = maxTaskSeconds === 0 ? undefined : maxTaskSeconds
    return ({ task, id }, hardSeconds) => loopNotes.begin(task, id, hardSeconds ?? fallback)
  }

  /** Runs the app's onStart hooks, then starts to consume, now or as soon as the broker is there. @throws what a hook throws */
  async start(): Promise<void> {
    const { queues, concurrency } = this.options
    await this.#pool.start()
    this.#transport.onChange((connected) => this.#onConnection(connected))
    this.#consumer = await this.#transport.consume({
      queues,
      concurrency,
      handlers: {
        onDeliveries: (deliveries) => {
          for (const delivery of deliveries) this.runner.accept(delivery)
        },
        onLost: (token) => this.runner.lose(token),
      },
    })
    await Promise.race([this.#presence.lookDraining(), pause(this.#clock, FIRST_LOOK_MS)])
    this.#consumer.grant(concurrency)
    this.#pidbox = new Pidbox({
      transport: this.#transport,
      hostname: this.hostname,
      lamport: this.lamport,
      log: this.#log,
      clock: this.#clock,
      methods: {
        ...inspectMethods(this.#view(), this.#steering()),
        ...steeringMethods(this.#view(), this.#steering()),
      },
    })
    this.#pidbox.start()
    this.#presence.start()
    this.#beatHeart()
    this.#log.info(
      { event: 'worker-started', queues, concurrency, tasks: [...this.options.app.tasks.keys()], version: VERSION },
      `worker ${this.hostname} consumes ${queues.join(', ')} with ${concurrency} slots`,
    )
  }

  livez(): Health {
    const { connected, lastRoundTrip } = this.#transport.state()
    const idle = this.#queues.length > 0 && !this.#draining ? this.#concurrency - this.runner.running.size : 0
    const since = Math.max(lastRoundTrip ?? 0, this.#connectedSince ?? Infinity, this.#resumedAt)
    const silentMs = this.#clock.monotonic() - since
    if (connected && !this.#stopping && idle > 0 && silentMs > STUCK_MS) {
      return {
        ok: false,
        message: `${idle} slots are free and the broker is connected, but nothing was asked of it for ${Math.round(silentMs / 1000)} s`,
      }
    }
    return { ok: true, message: 'alive' }
  }

  readyz(): Health {
    const { connected, error, trouble } = this.#transport.state()
    const detail = { queues: this.#queues, running: this.runner.running.size, slots: this.#concurrency }
    if (this.#stopping) return { ok: false, message: 'stopping', detail }
    if (!connected) return { ok: false, message: error ?? 'connecting to the broker', detail }
    if (trouble !== undefined) return { ok: false, message: trouble, detail }
    return { ok: true, message: 'consuming', detail }
  }

  /** Waits until tasks end, at most `graceSeconds`; gives back what is left. Call giveBackNow() to cut the wait short. */
  async stop(graceSeconds: number): Promise<void> {
    if (this.#stopping) return
    this.#stopping = true
    this.#log.info(
      { event: 'worker-stopping', running: this.runner.running.size, graceSeconds: graceSeconds },
      `stopping: no more tasks are taken, ${this.runner.running.size} may end within ${graceSeconds} s`,
    )
    this.#consumer?.stopTaking()
    await this.#drained(graceSeconds * 1000)
    const givenBack = this.runner.giveBackAll()
    try {
      await this.#consumer?.flush(FLUSH_MS)
    } catch (error) {
      this.#log.error(
        { event: 'outcomes-unconfirmed', error },
        'the broker did not confirm all outcomes; what is open runs again',
      )
    }
    await this.options.app.listeners.settle(SETTLE_MS, this.#log, this.#clock)
    await this.#closePool()
    await this.#sender.flush()
    await this.#sender.send('worker-offline', this.#heart())
    this.#heartbeat?.cancel()
    await this.#pidbox?.stop()
    await this.#presence.stop()
    await this.#consumer?.close()
    await Promise.all([this.#transport.close(), this.#store.close(), this.#results.close(), this.options.app.close()])
    this.#log.info({ event: 'worker-stopped', givenBack }, 'stopped')
  }

  /** The app's own hooks must not keep the worker from ending. */
  async #closePool(): Promise<void> {
    const closed = this.#pool.close().then(
      () => true,
      (error: unknown) => {
        this.#log.error({ event: 'hook-failed', error }, 'the pool could not be closed')
        return true
      },
    )
    const inTime = await Promise.race([closed, pause(this.#clock, HOOKS_MS)])
    if (inTime === undefined)
      this.#log.error({ event: 'hook-failed' }, `the onStop hooks took more than ${HOOKS_MS} ms`)
  }

  /** A second signal: what runs is given back at once. */
  giveBackNow(): void {
    for (const wake of this.#idleWaiters.splice(0)) wake()
  }

  /** This pod is to go, or is to stay after all. */
  #drain(draining: boolean): void {
    if (this.#stopping) return
    this.#draining = draining
    if (draining) this.#consumer?.stopTaking()
    else {
      this.#resumedAt = this.#clock.monotonic()
      this.#consumer?.resumeTaking()
    }
    const text = draining ? 'this pod is to go: no more tasks are taken' : 'this pod stays: tasks are taken again'
    this.#log.info({ event: draining ? 'worker-draining' : 'worker-resumed' }, text)
  }

  /** Celery's worker-heartbeat, out of turn. */
  async heartbeat(): Promise<void> {
    await this.#sender.send('worker-heartbeat', this.#heart())
  }

  /** Results and queues on one server: an outcome and its result are then one step. */
  get #together(): boolean {
    const { resultUrl, brokerUrl } = this.options.app.settings
    return resultUrl === brokerUrl
  }

  /** What remote control may see of this worker. */
  #view(): WorkerView {
    const { app, onShutdownRequest } = this.options
    return {
      hostname: this.hostname,
      queues: () => this.#queues,
      concurrency: () => this.#concurrency,
      pool: this.#pool.name,
      taskNames: () => [...app.tasks.keys()],
      active: () =>
        [...this.runner.running].map(({ message, queue, redelivered, startedAtWall }) => {
          return { message, queue, redelivered, startedAt: startedAtWall }
        }),
      totals: () => this.runner.totals,
      uptimeSeconds: () => (this.#clock.monotonic() - this.startedAt) / 1000,
      clock: () => this.lamport.value,
      broker: describeBroker(app.settings.brokerUrl),
      configuration: () => celeryNames(app.settings, this.#concurrency),
      parked: (limit) => this.#transport.parked(this.#queues, limit),
      heartbeat: () => this.heartbeat(),
      setEvents: (enabled) => {
        const changed = this.events.enabled !== enabled
        this.events.enabled = enabled
        return changed
      },
      shutdown: () => onShutdownRequest?.(),
    }
  }

  /** What remote control may change in it. */
  #steering(): WorkerSteering {
    const { runner } = this
    const now = (): number => this.#clock.monotonic()
    return {
      revoke: (ids, terminate) => this.#revoke(ids, terminate),
      revoked: () => runner.revocations.list(now()),
      learnRevoked: (ids) => runner.revocations.add(ids, now()),
      rateLimit: (task) => runner.rateLimits.of(task),
      setRateLimit: (task, text) => runner.rateLimits.set(task, text),
      setTimeLimits: (task, limits) => runner.setTimeLimits(task, limits),
      addQueue: async (queue) => {
        if (await this.#consumer?.addQueue(queue)) this.#queues = [...this.#queues, queue]
      },
      removeQueue: (queue) => {
        if (this.#consumer?.removeQueue(queue)) this.#queues = this.#queues.filter((name) => name !== queue)
      },
      grow: (slots) => {
        const next = Math.min(MAX_CONCURRENCY, Math.max(1, this.#concurrency + slots))
        this.#consumer?.grant(next - this.#concurrency)
        this.#concurrency = next
      },
    }
  }

  /** Revokes tasks, here and for workers that start later. @returns the ids of those that ran and were ended */
  async #revoke(ids: readonly string[], terminate: boolean): Promise<readonly string[]> {
    this.runner.revocations.add(ids, this.#clock.monotonic())
    const ended = terminate ? this.runner.terminate(new Set(ids)) : []
    await this.#store.saveRevoked(ids, REVOKED_FOR_MS, MOST_REVOKED)
    const running = new Set([...this.runner.running].map(({ message }) => message.id))
    const waiting = ids.filter((id) => !running.has(id))
    await tellRevoked(waiting, this.#results, {
      ttlSeconds: this.options.app.settings.resultTtlSeconds,
      now: this.#brokerClock.now(),
    })
    return ended
  }

  /** What was called off while this worker was not there. */
  async #learnRevoked(): Promise<void> {
    try {
      this.runner.revocations.add(await this.#store.readRevoked(), this.#clock.monotonic())
    } catch (error) {
      this.#log.warn({ event: 'broker-trouble', error }, 'the revoked tasks could not be read')
    }
  }

  #countDead(count: number, forgotten: number): void {
    this.#deadLetters = count
    if (forgotten === 0) return
    const { deadMax, deadMaxAgeSeconds } = this.options.app.settings
    this.#log.warn(
      { event: 'dead-letters-forgotten', count: forgotten },
      `${forgotten} dead letters were forgotten: ${deadMax} are kept at most (TASKQUEUE_DEAD_MAX), for ${deadMaxAgeSeconds} s (TASKQUEUE_DEAD_MAX_AGE_SECONDS)`,
    )
  }

  #release(): void {
    this.#consumer?.grant(1)
    if (this.#stopping && this.runner.idle) for (const wake of this.#idleWaiters.splice(0)) wake()
  }

  #drained(graceMs: number): Promise<void> {
    if (this.runner.idle) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = this.#clock.after(graceMs, resolve)
      this.#idleWaiters.push(() => {
        timer.cancel()
        resolve()
      })
    })
  }

  #onConnection(connected: boolean): void {
    this.#connectedSince = connected ? this.#clock.monotonic() : undefined
    if (this.#stopping) return
    if (connected) {
      this.#log.info({ event: 'broker-connected' }, 'connected to the broker')
      void this.#learnRevoked()
      void this.#sender.send('worker-online', this.#heart())
    } else {
      this.#log.warn(
        { event: 'broker-lost', reason: this.#transport.state().error },
        'the broker is away; trying again',
      )
    }
  }

  #beatHeart(): void {
    if (this.#stopping) return
    void this.heartbeat()
    this.#heartbeat = this.#clock.after(HEARTBEAT_MS, () => this.#beatHeart(), { background: true })
  }

  #heart(): Record<string, unknown> {
    return {
      freq: HEARTBEAT_MS / 1000,
      active: this.runner.running.size,
      processed: this.runner.processed,
      loadavg: loadavg().map((load) => Math.round(load * 100) / 100),
      sw_ident: 'taskqueue',
      sw_ver: VERSION,
      sw_sys: process.platform === 'linux' ? 'Linux' : process.platform,
    }
  }
}
