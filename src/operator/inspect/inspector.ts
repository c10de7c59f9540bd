// Looks at every TaskQueue's broker, each in a loop of its own so that one that hangs delays no other: depths of its queues and the
// presence of its pods. Tells the controller only when something changed. Not status: that is status.ts.

import { BrokerError, presenceKey, renameHosts, type BrokerConnection } from '@taskqueue/runtime/broker'
import type { Clock } from '../clock.ts'
import { messageOf } from '../errors.ts'
import { keyOf } from '../objects.ts'
import type { TaskQueue } from '../taskqueue.ts'
import { Freshness } from './freshness.ts'
import { BrokerLinks } from './links.ts'
import { tickPeriod, type BrokerObservation, type PatrolObservation, type PodPresence } from './observation.ts'
import { Patrols, type PatrolFigures, type PatrolOptions } from './patrols.ts'
import { patrolTarget } from './patroltarget.ts'

/** Reads one key of a Secret; undefined when the Secret or the key is not there. `anew`: what was read before opened nothing. */
export type ReadSecret = (
  namespace: string,
  name: string,
  key: string,
  options: { readonly anew: boolean },
) => Promise<string | undefined>

export interface InspectorOptions {
  /** Pause between two looks at one broker, with a fifth of jitter. Milliseconds. */
  intervalMs: number
  /** The pause where the number of pods follows what is seen: the first task of a pool without pods waits for it. Milliseconds. */
  scaledIntervalMs: number
  /** Ceiling of the pause while a broker can't be reached. */
  maxBackoffMs: number
  /** So many TaskQueues are looked at in every interval; beyond, the pause of those that nothing scales by grows with their number. */
  perInterval: number
  patrol?: Partial<PatrolOptions>
}

/** While pods drain: their pool waits for them. */
const DRAINING_INTERVAL_MS = 1_000
/** Should the operator be gone, its pods take again after this. */
const DRAIN_TTL_SECONDS = 60

const DEFAULTS: InspectorOptions = {
  intervalMs: 5_000,
  scaledIntervalMs: 2_000,
  maxBackoffMs: 15_000,
  perInterval: 200,
}

interface Followed {
  /** What is followed, as JSON: a change begins a new loop. */
  target: string
  stop: AbortController
  latest: BrokerObservation | undefined
  /** By which the last look was. */
  connection: BrokerConnection | undefined
  /** UIDs of the pods that are to take nothing any more; undefined before the first word on it. */
  draining: readonly string[] | undefined
  /** Ends the pause between two looks. */
  wake: AbortController
  /** Whether the broker has any by now, as far as is known. */
  drainTold: boolean
}

interface Target {
  namespace: string
  name: string
  broker: TaskQueue['spec']['broker']
  results: TaskQueue['spec']['results']
  queues: readonly string[]
  /** The number of pods follows what is seen, and soon. */
  scaled: boolean
}

type Urls = { url: string } | { url: undefined; problem: BrokerObservation }

export class BrokerInspector {
  readonly #readSecret: ReadSecret
  readonly #onChange: (key: string) => void
  readonly #clock: Clock
  readonly #options: InspectorOptions
  readonly #links = new BrokerLinks()
  readonly #patrols: Patrols
  readonly #followed = new Map<string, Followed>()
  #loops = 0

  constructor(
    readSecret: ReadSecret,
    onChange: (key: string) => void,
    clock: Clock,
    options: Partial<InspectorOptions> = {},
  ) {
    this.#readSecret = readSecret
    this.#onChange = onChange
    this.#clock = clock
    this.#options = { ...DEFAULTS, ...options }
    this.#patrols = new Patrols(onChange, clock, options.patrol)
  }

  follow(queue: TaskQueue, queues: readonly string[]): void {
    const key = keyOf(queue)
    this.#patrols.follow(key, patrolTarget(queue))
    const { namespace = '', name } = queue.metadata
    const { broker, results, workers = [] } = queue.spec
    const scaled = workers.some(({ autoscale }) => autoscale !== undefined)
    const target: Target = { namespace, name, broker, results, queues, scaled }
    const text = JSON.stringify(target)
    const known = this.#followed.get(key)
    if (known?.target === text) return
    known?.stop.abort()
    const followed: Followed = {
      target: text,
      stop: new AbortController(),
      latest: known?.latest,
      connection: known?.connection,
      draining: known?.draining,
      wake: new AbortController(),
      // A predecessor may have told some.
      drainTold: true,
    }
    this.#followed.set(key, followed)
    // A name of its own for each loop: one that ends late must not give up the connection of its successor.
    void this.#loop(key, `${key}#${++this.#loops}`, target, followed)
  }

  latest(key: string): BrokerObservation | undefined {
    return this.#followed.get(key)?.latest
  }

  /** What patrol has seen; undefined before it has looked. */
  patrol(key: string): PatrolObservation | undefined {
    return this.#patrols.latest(key)
  }

  /** What patrol has seen of every TaskQueue. */
  patrolFigures(): Iterable<PatrolFigures> {
    return this.#patrols.figures()
  }

  /** Whether the broker answers at this moment. */
  async answers(key: string): Promise<boolean> {
    try {
      await this.#followed.get(key)?.connection?.ping()
      return this.#followed.get(key)?.latest?.reachable === true
    } catch {
      return false
    }
  }

  /** Takes effect at once, and lasts for DRAIN_TTL_SECONDS beyond the last one. */
  drain(key: string, podUids: readonly string[]): void {
    const followed = this.#followed.get(key)
    if (!followed || followed.draining?.join() === podUids.join()) return
    followed.draining = podUids
    followed.wake.abort()
  }

  forget(key: string): void {
    this.#followed.get(key)?.stop.abort()
    this.#followed.delete(key)
    this.#patrols.forget(key)
  }

  close(): void {
    for (const key of [...this.#followed.keys()]) this.forget(key)
    this.#links.closeAll()
  }

  async #loop(key: string, user: string, target: Target, followed: Followed): Promise<void> {
    const { signal } = followed.stop
    const freshness = new Freshness()
    let url: string | undefined
    let secrets: string | undefined
    let failures = 0
    while (!signal.aborted) {
      // What opened nothing may have been changed meanwhile.
      const found = await this.#urls(target, failures > 0)
      if (url !== undefined && url !== found.url) this.#links.release(url, user)
      url = found.url
      const observation =
        found.url === undefined ? found.problem : await this.#look(user, found.url, target, freshness, followed)
      if (followed.stop.signal.aborted) break
      failures = observation.reachable ? 0 : failures + 1
      if (!observation.reachable) this.#patrols.blind(key, observation.message)
      const news = fingerprint(observation) !== fingerprint(followed.latest)
      if (news) followed.latest = observation
      if (news || (secrets !== undefined && secrets !== found.secrets)) this.#onChange(key)
      secrets = found.secrets
      await this.#rest(key, followed, failures, target)
    }
    if (url !== undefined) this.#links.release(url, user)
  }

  /** Until the next look, which somebody may wish for at once. */
  async #rest(key: string, followed: Followed, failures: number, target: Target): Promise<void> {
    const { stop, wake, draining = [] } = followed
    const pause = this.#pause(key, failures, target)
    const most = draining.length > 0 && failures === 0 ? DRAINING_INTERVAL_MS : pause
    await this.#clock.sleep(Math.min(pause, most), AbortSignal.any([stop.signal, wake.signal]))
    if (wake.signal.aborted) followed.wake = new AbortController()
  }

  #pause(key: string, failures: number, { scaled }: Target): number {
    const { intervalMs, scaledIntervalMs, maxBackoffMs, perInterval } = this.#options
    // What only status tells may be a little older where there is much of it, but patrol goes along with these looks.
    const relaxed = intervalMs * Math.max(1, this.#followed.size / perInterval)
    const usual = scaled ? scaledIntervalMs : Math.min(relaxed, this.#patrols.periodMs(key) ?? relaxed)
    const base = failures === 0 ? usual : Math.min(maxBackoffMs, intervalMs * 2 ** Math.min(failures - 1, 10))
    const wake = this.#clock.monotonic() + base * (0.9 + Math.random() * 0.2)
    // On the full second, with others: many small awakenings cost far more than a few large ones.
    const grid = Math.min(1_000, intervalMs / 5)
    return Math.ceil(wake / grid) * grid - this.#clock.monotonic()
  }

  /** The broker's URL, and what its Secrets say by now: a change of them is the reconciler's business too. */
  async #urls({ namespace, broker, results }: Target, anew: boolean): Promise<Urls & { readonly secrets: string }> {
    const url = await this.#url(namespace, broker, anew)
    const { name, key } = results.urlFrom?.secretKeyRef ?? {}
    const other =
      name === undefined || key === undefined
        ? ''
        : await this.#readSecret(namespace, name, key, { anew: false }).catch(() => undefined)
    return { ...url, secrets: JSON.stringify([url.url, other]) }
  }

  async #url(namespace: string, broker: Target['broker'], anew: boolean): Promise<Urls> {
    if (broker.url !== undefined) return { url: fromNamespace(broker.url, namespace) }
    const { name, key } = broker.urlFrom?.secretKeyRef ?? { name: '', key: '' }
    const unusable = (reason: 'SecretNotFound' | 'UrlInvalid', message: string): Urls => {
      return { url: undefined, problem: { reachable: false, reason, message } }
    }
    try {
      const value = (await this.#readSecret(namespace, name, key, { anew }))?.trim()
      if (value === undefined || value === '')
        return unusable(
          'SecretNotFound',
          `Secret ${namespace}/${name} has no key "${key}": create it with the broker's URL, for example redis://:password@redis:6379/0.`,
        )
      // What is no URL may be a bare password: it is never echoed.
      if (!isBrokerUrl(value))
        return unusable(
          'UrlInvalid',
          `Key "${key}" of Secret ${namespace}/${name} does not begin with redis://, rediss://, sentinel:// or redis+cluster://: put the broker's whole URL there.`,
        )
      return { url: fromNamespace(value, namespace) }
    } catch (error) {
      return unusable('SecretNotFound', `Secret ${namespace}/${name} could not be read: ${messageOf(error)}.`)
    }
  }

  async #look(
    user: string,
    url: string,
    target: Target,
    freshness: Freshness,
    followed: Followed,
  ): Promise<BrokerObservation> {
    try {
      const connection = await this.#links.open(url, user)
      followed.connection = connection
      await tellDraining(connection, presenceKey(target), followed)
      const [depth, presence] = await Promise.all([
        connection.depth(target.queues),
        connection.readPresence(presenceKey(target)),
      ])
      const fresh = freshness.fresh(presence, this.#clock.monotonic())
      void this.#patrols.visit(`${target.namespace}/${target.name}`, connection, url)
      return {
        reachable: true,
        queues: new Map(
          depth.queues.map(({ queue, waiting, inFlight, parked }) => [queue, { waiting, inFlight, parked }]),
        ),
        foreignInFlight: depth.foreignUnacked,
        presence: fresh.map((entry): PodPresence => ({
          podUid: entry.id.split('/')[0] ?? entry.id,
          kind: entry.kind,
          offsetSeconds: entry.offsetSeconds,
          busySlots: entry.busySlots,
          slots: entry.slots,
          detail: entry.detail ?? {},
        })),
      }
    } catch (error) {
      this.#links.drop(url)
      const reason = error instanceof BrokerError && error.code === 'BrokerUrlInvalid' ? 'UrlInvalid' : 'Unreachable'
      return { reachable: false, reason, message: `${messageOf(error)}.`.replace(/\.\.$/, '.') }
    }
  }
}

/** A broker that refuses it, or is full, is read all the same: the pods don't drain then, and stay. One that is away is told by that. */
async function tellDraining(connection: BrokerConnection, key: string, followed: Followed): Promise<void> {
  const { draining, drainTold } = followed
  if (draining === undefined || (draining.length === 0 && !drainTold)) return
  try {
    await connection.writeDraining(key, draining, DRAIN_TTL_SECONDS)
    followed.drainTold = draining.length > 0
  } catch {
    followed.drainTold = true
  }
}

/**
 * A URL as the TaskQueue's pods mean it: a host without a dot is a Service of their namespace, which from the operator's needs
 * its namespace spelled out.
 */
export function fromNamespace(url: string, namespace: string): string {
  try {
    return renameHosts(url, (host) =>
      host === 'localhost' || /[.:]/.test(host) ? undefined : `${host}.${namespace}.svc`,
    )
  } catch {
    // Connecting tells what is wrong with it.
    return url
  }
}

/** Whether a text begins as the URL of a broker does that the runtime can reach. */
function isBrokerUrl(text: string): boolean {
  return /^(rediss?|sentinels?|rediss?\+cluster):\/\//.test(text)
}

/** Of what pods say of themselves, what status and scaling are made from. */
const TOLD = [
  'schedulesHash',
  'schedulesProblem',
  'scheduleFileProblem',
  'failing',
  'held',
  'leaseHolder',
  'tasks',
  'draining',
  'ntpTrouble',
  'disciplineTrouble',
]

/** Equal for observations from which the same would follow: an offset that moves by milliseconds is none's business. */
function fingerprint(observation: BrokerObservation | undefined): string {
  if (!observation?.reachable) return JSON.stringify(observation ?? null)
  const presence = observation.presence.map((entry) => ({
    ...entry,
    offsetSeconds: tenths(entry.offsetSeconds),
    detail: [
      ...TOLD.map((field) => entry.detail[field]),
      tickPeriod(entry.detail.lastTickAt),
      coarseNtp(entry.detail.ntp),
      stuckIds(entry.detail.stuck),
    ],
  }))
  return JSON.stringify([[...observation.queues], observation.foreignInFlight, presence])
}

function tenths(seconds: unknown): number | null {
  return typeof seconds === 'number' ? Math.round(seconds * 10) / 10 : null
}

/** Which tasks are stuck, without for how long. */
function stuckIds(told: unknown): unknown {
  return Array.isArray(told) ? told.map((each: { id?: unknown } | null) => each?.id) : undefined
}

/** What is told of NTP, without what moves at every measurement. */
function coarseNtp(told: unknown): unknown {
  if (typeof told !== 'object' || told === null) return told
  const { offsetSeconds, source } = told as Record<string, unknown>
  return [tenths(offsetSeconds), source]
}
