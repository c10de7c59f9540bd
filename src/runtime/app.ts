// TaskApp: names tasks, sends them, reads their results. It connects when something is sent, not before, and runs nothing itself.
import { systemClock, type Clock } from './clock.ts'
import { UsageError } from './errors.ts'
import type { SendOptions } from './call.ts'
import { currentTask } from './current-task.ts'
import { forgiving } from './forgiving-tracing.ts'
import { Listeners, type AppListener } from './listeners.ts'
import { RedisStore } from './broker/redis/store.ts'
import { RedisTransport } from './broker/redis/transport.ts'
import type { Store } from './broker/store.ts'
import type { Transport } from './broker/transport.ts'
import { Canvas, chainOf, chordOf, groupOf, type SignatureOptions } from './canvas/canvas.ts'
import type { Plan } from './canvas/dispatch.ts'
import { publicationOf, type Lineage } from './canvas/publication.ts'
import type { EagerBroker } from './eager/eager-broker.ts'
import { checkSize, holdOf, prepareTask, type CallOptions, type PreparedTask } from './preparation.ts'
import type { AppEvents, ErrorTracker } from './reports.ts'
import { AsyncResult, type ResultSource } from './results/async-result.ts'
import { checkSettings, queueName, readSettings, type Settings } from './settings.ts'
import { checkPriority, checkTaskOptions, type RegisteredTask, type TaskHandler, type TaskOptions } from './task.ts'
import type { Schedule } from './triggers/schedule.ts'
import { parseSchedules } from './triggers/schedule.ts'
import type { SendSpan, Tracing } from './tracing.ts'

/** Marks a TaskApp across copies of this package: the command line may have another one than the app. */
export const APP_BRAND: unique symbol = Symbol.for('taskqueue.app') as never

/** Options of an app. Settings left out come from the TASKQUEUE_* variables. */
export interface TaskAppOptions extends Partial<Settings> {
  /** Names the app in logs, metrics and presence. */
  readonly name: string
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly clock?: Clock
}

/** A task that can be called. */
export interface Task<Args extends readonly unknown[], Result> extends RegisteredTask {
  /** Sends the task. */
  delay(...args: Args): Promise<AsyncResult<Awaited<Result>>>
  /** Sends the task with options. */
  applyAsync(args: Args, options?: SendOptions): Promise<AsyncResult<Awaited<Result>>>
  /** The call, not sent yet: for a chain, a group, a chord or a link. What comes before it goes before these arguments. */
  s(...args: unknown[]): Canvas<Awaited<Result>>
  /** The same, taking nothing from what comes before it. */
  si(...args: Args): Canvas<Awaited<Result>>
}

/** Runs when a worker starts or stops. */
export type Hook = () => void | Promise<void>

export class TaskApp {
  readonly name: string
  readonly [APP_BRAND] = true
  /** For workers and beats: who is to be told what `on()` names. */
  readonly listeners = new Listeners()
  readonly #clock: Clock
  readonly #tasks = new Map<string, RegisteredTask>()
  readonly #schedules: Schedule[] = []
  readonly #startHooks: Hook[] = []
  readonly #stopHooks: Hook[] = []
  #settings: Settings
  #tracing: Tracing | undefined
  #transport: Transport | undefined
  #store: Store | undefined
  #eager: Promise<EagerBroker> | undefined

  /** @throws UsageError `SettingInvalid` */
  constructor(options: TaskAppOptions) {
    const { name, env = process.env, clock = systemClock, ...overrides } = options
    this.name = name
    this.#clock = clock
    const settings = readSettings(env)
    const given = Object.fromEntries(Object.entries(overrides).filter(([, value]) => value !== undefined))
    const resultUrl =
      overrides.resultUrl ??
      (overrides.brokerUrl && !env['TASKQUEUE_RESULT_URL'] ? overrides.brokerUrl : settings.resultUrl)
    this.#settings = { ...settings, ...given, resultUrl }
    checkSettings(this.#settings)
  }

  get settings(): Settings {
    return this.#settings
  }

  /**
   * Puts settings in the place of the app's own: the command line's flags win over what code says. Before anything is sent.
   * @throws UsageError `SettingInvalid`
   */
  override(settings: Partial<Settings>): void {
    const { brokerUrl, resultUrl } = this.#settings
    const follows = resultUrl === brokerUrl && settings.brokerUrl !== undefined
    const next = { ...this.#settings, ...(follows ? { resultUrl: settings.brokerUrl } : {}), ...settings }
    checkSettings(next)
    this.#settings = next
  }

  /** The tasks by name. */
  get tasks(): ReadonlyMap<string, RegisteredTask> {
    return this.#tasks
  }

  /** The schedules that the app itself brings, for `taskqueue beat --app`. */
  get schedules(): readonly Schedule[] {
    return this.#schedules
  }

  /**
   * Names a task.
   * @throws UsageError `TaskTwice`, `OptionInvalid`
   */
  task<Args extends unknown[], Result>(name: string, handler: TaskHandler<Args, Result>): Task<Args, Result>
  task<Args extends unknown[], Result>(
    name: string,
    options: TaskOptions,
    handler: TaskHandler<Args, Result>,
  ): Task<Args, Result>
  task<Args extends unknown[], Result>(
    name: string,
    second: TaskOptions | TaskHandler<Args, Result>,
    third?: TaskHandler<Args, Result>,
  ): Task<Args, Result> {
    const [options, handler] = typeof second === 'function' ? [{}, second] : [second, third]
    if (typeof handler !== 'function')
      throw new UsageError('OptionInvalid', `task ${name} has no handler: app.task(name, options, handler)`)
    if (name === '' || name.length > 255)
      throw new UsageError('OptionInvalid', 'a task needs a name of 1 to 255 characters')
    if (this.#tasks.has(name))
      throw new UsageError('TaskTwice', `two tasks are named ${name}: the second would hide the first`)
    checkTaskOptions(name, options)
    const task: Task<Args, Result> = {
      name,
      options,
      handler: handler as unknown as RegisteredTask['handler'],
      delay: (...args) => this.send<Awaited<Result>>(name, args),
      applyAsync: (args, sendOptions) => this.send<Awaited<Result>>(name, args, sendOptions),
      s: (...args) => this.signature<Awaited<Result>>(name, args),
      si: (...args) => this.signature<Awaited<Result>>(name, args).alone(),
    }
    this.#tasks.set(name, task)
    return task
  }

  /** Opens what tasks need, such as a pool of connections: runs in each process or thread that runs tasks, before the first of them. */
  onStart(hook: Hook): void {
    this.#startHooks.push(hook)
  }

  /** Closes it again, once the last task has ended. Not run by a worker that is killed. */
  onStop(hook: Hook): void {
    this.#stopHooks.push(hook)
  }

  /**
   * Listens to what becomes of tasks: `error`, `retry`, `dead`, `recovered`, and `missed` where beat runs with `--app`. A listener is
   * called in the worker's own event loop, also for tasks of the pool `threads`, before the outcome is handed to the broker; nothing
   * waits for what it returns but the end of the process. What it throws is logged, and changes nothing for the task.
   * @returns what removes it again, as `off()` does
   * @throws UsageError `OptionInvalid` for another event
   */
  on<Name extends keyof AppEvents>(event: Name, listener: AppListener<Name>): () => void {
    if (!Listeners.knows(event)) throw new UsageError('OptionInvalid', `an app has no event ${String(event)}`)
    this.listeners.add(event, listener)
    return () => this.off(event, listener)
  }

  /** Removes a listener; nothing happens when there is none. */
  off<Name extends keyof AppEvents>(event: Name, listener: AppListener<Name>): void {
    this.listeners.remove(event, listener)
  }

  /** Has an error tracker told of all that `on()` names, and flushed when a worker or a beat stops. @returns what takes it away again */
  track(tracker: ErrorTracker): () => void {
    return this.listeners.track(tracker)
  }

  /** Has what is sent and run traced; see `@taskqueue/runtime/opentelemetry`. @throws UsageError `TracingTwice` */
  trace(tracing: Tracing): void {
    if (this.#tracing)
      throw new UsageError('TracingTwice', 'this app is traced already: each span would be there twice')
    this.#tracing = forgiving(tracing)
  }

  /** What traces this app, if anything does. */
  get tracing(): Tracing | undefined {
    return this.#tracing
  }

  /** For workers: runs the onStart hooks in the order in which they were added. Rejects with the first error. */
  async runStartHooks(): Promise<void> {
    for (const hook of this.#startHooks) await hook()
  }

  /** For workers: runs the onStop hooks, the last one added first. One that fails stops none of the others. */
  async runStopHooks(onError: (error: unknown) => void): Promise<void> {
    for (const hook of this.#stopHooks.toReversed()) {
      try {
        await hook()
      } catch (error) {
        onError(error)
      }
    }
  }

  /**
   * Adds schedules, as a schedules file has them.
   * @throws UsageError `ScheduleInvalid`
   */
  schedule(...schedules: unknown[]): void {
    this.#schedules.push(
      ...parseSchedules([...this.#schedules.map((schedule) => schedule.source), ...schedules]).slice(
        this.#schedules.length,
      ),
    )
  }

  /**
   * Sends a task by its name, whoever runs it.
   * @throws UsageError for options that contradict themselves or a payload over the limit
   * @throws BrokerError when the broker doesn't take it within 5 s
   */
  async send<Result = unknown>(
    name: string,
    args: readonly unknown[] = [],
    options: SendOptions = {},
  ): Promise<AsyncResult<Result>> {
    const broker = this.settings.eager ? await this.#eagerBroker() : this.transport
    const unique = holdOf(name, this.#tasks.get(name)?.options.unique, args, options)
    const prepared = this.prepare(name, args, unique ? { ...options, unique: unique.name } : options)
    const { publication, stored, span } = prepared
    let { id } = prepared
    try {
      if (unique) id = await broker.publishUnique(publication, { name: unique.name, id }, unique.seconds * 1000)
      else await broker.publish([publication])
    } catch (error) {
      span?.end(error)
      throw error
    }
    span?.end()
    return new AsyncResult<Result>(id, () => this.#resultSource(), stored)
  }

  /** A handle on the result of a task that was sent before. */
  result<Result = unknown>(id: string): AsyncResult<Result> {
    return new AsyncResult<Result>(id, () => this.#resultSource(), true)
  }

  /** The message of a call, not sent. What the task that calls carries of a trace goes with it. @throws UsageError as send() does */
  prepare(name: string, args: readonly unknown[], options: CallOptions = {}): PreparedTask {
    return prepareTask(name, args, options, {
      task: this.#tasks.get(name)?.options,
      route: (queue) => this.route(queue),
      now: this.#clock.now(),
      tracing: this.#tracing,
      maxPayloadBytes: this.settings.maxPayloadBytes,
    })
  }

  /**
   * A task that is not sent yet, for a canvas. Its queue is settled here: another app that sends it may know another default.
   * @throws UsageError for options that contradict themselves
   */
  signature<Result = unknown>(
    name: string,
    args: readonly unknown[] = [],
    options: SignatureOptions = {},
  ): Canvas<Result> {
    const task = this.#tasks.get(name)
    const queue = this.route(options.queue ?? task?.options.queue)
    const priority = options.priority ?? task?.options.priority
    const ignoreResult = options.ignoreResult ?? task?.options.ignoreResult
    if (priority !== undefined) checkPriority(priority)
    const bare = { task: name, args, kwargs: {}, options: {}, subtask_type: null, immutable: false }
    return new Canvas<Result>(bare, this).set({
      ...options,
      queue,
      ...(priority === undefined ? {} : { priority }),
      ...(ignoreResult ? { ignoreResult } : {}),
    })
  }

  /** One after the other; each is given what the one before it returned, before its own arguments. */
  chain(...members: readonly Canvas[]): Canvas {
    return chainOf(members, this)
  }

  /** All at once; what they return is a list. */
  group(...members: readonly Canvas[]): Canvas<unknown[]> {
    return groupOf(members, this)
  }

  /** All of the header at once, and then the body, which is given the list of what they returned. */
  chord(header: readonly Canvas[], body: Canvas): Canvas {
    return chordOf(header, body, this)
  }

  /** Sends what a canvas comes to. @throws UsageError, BrokerError */
  async sendPlan({ tasks, chordSizes }: Plan): Promise<void> {
    const parent = currentTask()
    const spans: SendSpan[] = []
    const lineage: Lineage = {
      parentId: parent?.id,
      rootId: parent?.rootId ?? tasks[0]?.id,
      now: this.#clock.now(),
      queueOf: (task, queue) => this.route(queue ?? this.#tasks.get(task)?.options.queue),
      traceOf: ({ id, task }, queue) => {
        const span = this.#tracing?.send({ id, task, queue, retries: 0, scheduled: false })
        if (span) spans.push(span)
        return span?.headers ?? parent?.trace ?? {}
      },
    }
    try {
      await this.#publishPlan(tasks, chordSizes, lineage)
    } catch (error) {
      for (const span of spans) span.end(error)
      throw error
    }
    for (const span of spans) span.end()
  }

  async #publishPlan(tasks: Plan['tasks'], chordSizes: Plan['chordSizes'], lineage: Lineage): Promise<void> {
    const publications = tasks.map((task) => {
      const { bodyBytes, ...publication } = publicationOf(task, lineage)
      checkSize(task.task, bodyBytes, this.settings.maxPayloadBytes)
      return publication
    })
    // A chord counts before the first task of its header can end.
    const ttlSeconds = this.settings.resultTtlSeconds
    const eager = this.settings.eager ? await this.#eagerBroker() : undefined
    for (const count of chordSizes) await (eager ?? this.store).countChord({ ...count, ttlSeconds })
    await (eager ?? this.transport).publish(publications)
  }

  #resultSource(): ResultSource | Promise<ResultSource> {
    return this.settings.eager ? this.#eagerBroker() : this.store
  }

  /** Loaded when it is asked for: who sends to a broker needs nothing of a worker. */
  #eagerBroker(): Promise<EagerBroker> {
    return (this.#eager ??= import('./eager/eager-broker.ts').then(({ EagerBroker }) => {
      const [tasks, settings, clock] = [this.#tasks, this.settings, this.#clock]
      return new EagerBroker({ tasks, settings, clock, app: this, route: (queue) => this.route(queue) })
    }))
  }

  /** The queue a message goes to: in a Test environment always the default queue, so that nothing leaks into production's. */
  route(queue: string | undefined): string {
    if (queue === undefined || this.settings.environment === 'Test') return this.settings.defaultQueue
    return queueName('the queue', queue)
  }

  /** The broker; made at first use. */
  get transport(): Transport {
    const { brokerUrl, keyPrefix, visibilityTimeoutSeconds } = this.settings
    return (this.#transport ??= new RedisTransport({
      url: brokerUrl,
      keyPrefix,
      visibilityTimeoutSeconds,
      clock: this.#clock,
    }))
  }

  /** The store of results; made at first use. */
  get store(): Store {
    const { resultUrl, keyPrefix } = this.settings
    return (this.#store ??= new RedisStore({ url: resultUrl, keyPrefix }))
  }

  /** Closes the connections; a later send opens them again. */
  async close(): Promise<void> {
    const [transport, store, eager] = [this.#transport, this.#store, this.#eager]
    this.#transport = this.#store = this.#eager = undefined
    await Promise.all([transport?.close(), store?.close(), eager?.then((broker) => broker.close())])
  }
}

/** True for a TaskApp, also of another copy of this package. */
export function isTaskApp(value: unknown): value is TaskApp {
  return typeof value === 'object' && value !== null && Reflect.get(value, APP_BRAND) === true
}
