// Runs tasks where they are called, without a broker: for unit tests. The worker's own runner over a broker that is a few maps, so that
// retries, chains and failures are what they are in a worker. Not a queue: a call returns when its task has ended.
import { BrokerClock } from '../broker/broker-clock.ts'
import type { ChordParts, ChordPartWrite, ChordState } from '../broker/store.ts'
import type {
  ChordCount,
  Delivery,
  DeliveryToken,
  Following,
  Outcome,
  Publication,
  ResultWrite,
} from '../broker/transport.ts'
import { pause, type Clock } from '../clock.ts'
import { TaskEvents } from '../events/task-events.ts'
import { createRegistry, createTaskMetrics } from '../health/task-metrics.ts'
import { SETTLE_MS, type Listeners } from '../listeners.ts'
import { createLog, type Logger } from '../log.ts'
import { CONSUMER_MAX_BODY_BYTES, decodeEnvelope } from '../protocol/envelope.ts'
import { decodeTask } from '../protocol/task-message.ts'
import type { ResultSource } from '../results/async-result.ts'
import type { Settings } from '../settings.ts'
import type { TaskTable } from '../task.ts'
import { withBuiltins } from '../worker/builtin-tasks.ts'
import { InlinePool, type AppHooks } from '../worker/pool.ts'
import type { Tracing } from '../tracing.ts'
import { TaskRunner } from '../worker/runner.ts'

export interface EagerDeps {
  readonly tasks: TaskTable
  readonly settings: Settings
  readonly clock: Clock
  readonly app: AppHooks & { readonly listeners: Listeners; readonly tracing: Tracing | undefined }
  readonly route: (queue: string | undefined) => string
}

interface Chord {
  readonly size: number
  readonly shape: string | undefined
  readonly parts: Map<string, { readonly index: number; readonly json: string }>
}

export class EagerBroker implements ResultSource {
  readonly #deps: EagerDeps
  readonly #pool: InlinePool
  readonly #runner: TaskRunner
  readonly #log: Logger
  readonly #results = new Map<string, string>()
  readonly #watchers = new Map<string, Set<(json: string) => void>>()
  readonly #chords = new Map<string, Chord>()
  readonly #open = new Map<
    DeliveryToken,
    { readonly publication: Publication; readonly end: (what: Promise<void>) => void }
  >()
  #deliveries = 0
  #started: Promise<void> | undefined

  constructor(deps: EagerDeps) {
    this.#deps = deps
    const { tasks, settings, clock, app, route } = deps
    const log = (this.#log = createLog({ level: settings.logLevel }))
    this.#pool = new InlinePool(app, (error) => log.error({ event: 'hook-failed', error }, 'an onStop hook failed'))
    const metrics = createTaskMetrics(createRegistry(), {
      running: () => 0,
      slots: () => 0,
      deadLetters: () => 0,
      brokerConnected: () => true,
    })
    const nobody = { buffer: () => undefined }
    this.#runner = new TaskRunner({
      tasks: withBuiltins(tasks),
      settings,
      clock,
      log,
      metrics,
      worker: 'eager',
      brokerClock: new BrokerClock(clock),
      random: Math.random,
      events: new TaskEvents(nobody, false),
      retryQueue: route,
      listeners: app.listeners,
      tracing: app.tracing,
      queueOf: (task, queue) => route(queue ?? tasks.get(task)?.options.queue),
      settle: (outcome) => this.#settle(outcome),
      release: () => undefined,
      onHardLimit: () => undefined,
      limitLease: () => undefined,
      pool: this.#pool,
      results: {
        writeResult: async (write) => {
          this.#store(write)
          return Promise.resolve()
        },
        countChord: (count) => this.countChord(count),
        endChord: (groupId) => Promise.resolve(this.#chords.delete(groupId)),
        chordPart: (part) => Promise.resolve(this.#part(part)),
        readChordParts: (groupId) => Promise.resolve(this.#parts(groupId)),
      },
      resultsInOutcome: true,
    })
  }

  /** Runs the tasks, one after the other, with all that follows from them. Never rejects for a task that fails: its result tells. */
  async publish(publications: readonly Publication[]): Promise<void> {
    await (this.#started ??= this.#pool.start())
    for (const publication of publications) await this.#run(publication)
  }

  /** Nothing waits here, so nothing is held off. */
  async publishUnique(publication: Publication, { id }: { readonly id: string }): Promise<string> {
    await this.publish([publication])
    return id
  }

  countChord(count: ChordCount): Promise<void> {
    this.#count(count)
    return Promise.resolve()
  }

  readResult(taskId: string): Promise<string | undefined> {
    return Promise.resolve(this.#results.get(taskId))
  }

  watchResult(taskId: string, onResult: (json: string) => void): Promise<() => Promise<void>> {
    const watchers = this.#watchers.get(taskId) ?? new Set()
    this.#watchers.set(taskId, watchers.add(onResult))
    return Promise.resolve(() => Promise.resolve(void watchers.delete(onResult)))
  }

  async close(): Promise<void> {
    await this.#deps.app.listeners.settle(SETTLE_MS, this.#log)
    if (this.#started) await this.#pool.close()
    this.#started = undefined
  }

  #run(publication: Publication): Promise<void> {
    const token = `eager:${++this.#deliveries}` as DeliveryToken
    return new Promise((resolve) => {
      this.#open.set(token, { publication, end: resolve })
      this.#runner.accept(this.#delivery(token, publication))
    })
  }

  /** As of when it is due: time doesn't pass for its sake. */
  #delivery(token: DeliveryToken, { queue, raw }: Publication): Delivery {
    const message = decodeEnvelope(raw, { maxBodyBytes: CONSUMER_MAX_BODY_BYTES })
    return { token, queue, message, takenAt: Math.max(this.#deps.clock.now(), decodeTask(message).eta ?? 0) }
  }

  /** One outcome, and all that follows from it. */
  #settle(outcome: Outcome): void {
    const { token, result, following } = outcome
    if (result) this.#store(result)
    const next = following ? this.#follow(following) : []
    if (outcome.kind === 'retry') next.push(outcome.publish)
    const open = token === null ? undefined : this.#open.get(token)
    if (token !== null) this.#open.delete(token)
    const rest = outcome.kind === 'park' && open ? this.#later(open.publication, outcome.dueAt) : this.publish(next)
    open?.end(rest)
  }

  #follow(following: Following): Publication[] {
    const next = [...following.publish]
    for (const part of [following, ...following.chords]) {
      for (const write of part.results) this.#store(write)
      for (const count of part.counts) this.#count(count)
    }
    for (const chord of following.chords) {
      this.#chords.delete(chord.groupId)
      next.push(...chord.publish)
    }
    return next
  }

  /** A rate limit is kept here too. */
  async #later(publication: Publication, dueAt: number): Promise<void> {
    await pause(this.#deps.clock, Math.max(0, dueAt - this.#deps.clock.now()))
    await this.#run(publication)
  }

  #store({ taskId, json }: ResultWrite): void {
    this.#results.set(taskId, json)
    for (const watcher of [...(this.#watchers.get(taskId) ?? [])]) watcher(json)
  }

  #count({ groupId, size, shape }: ChordCount): void {
    this.#chords.set(groupId, { size, shape, parts: new Map() })
  }

  #part({ groupId, taskId, index, json }: ChordPartWrite): ChordState {
    const chord = this.#chords.get(groupId)
    if (!chord) return 'done'
    chord.parts.set(taskId, { index: index ?? Infinity, json })
    return chord.parts.size === chord.size ? 'claimed' : 'waiting'
  }

  #parts(groupId: string): ChordParts {
    const chord = this.#chords.get(groupId)
    const parts = [...(chord?.parts.values() ?? [])].toSorted((a, b) => a.index - b.index)
    return { parts: parts.map(({ json }) => json), shape: chord?.shape }
  }
}
