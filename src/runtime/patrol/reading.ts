// One look at a broker and at those who work there. Only reads; what follows from it is judged elsewhere.
import { lastSlotOf, overdueSeconds, slotTaskId } from '../beat/overdue.ts'
import type { BrokerConnection } from '../broker/index.ts'
import type { Answer } from '../broker/safety.ts'
import type { Cursor } from '../broker/store.ts'
import type { Depth } from '../broker/transport.ts'
import type { Clock } from '../clock.ts'
import { askTogether } from '../control/ask-workers.ts'
import { BrokerError } from '../errors.ts'
import { isJsonObject } from '../protocol/envelope.ts'
import type { Schedule } from '../triggers/schedule.ts'
import type { Consumer, Look, ScheduleSeen, Survey, WorkerSettings } from './look.ts'

export interface Ground {
  readonly store: Pick<
    BrokerConnection,
    | 'time'
    | 'depth'
    | 'readPresence'
    | 'readSafety'
    | 'readUnacked'
    | 'readQueues'
    | 'readCursors'
    | 'readPausedSchedules'
    | 'waitingAmong'
    | 'deadLetters'
  >
  readonly transport: Pick<BrokerConnection, 'request'>
  readonly clock: Pick<Clock, 'monotonic'>
  readonly queues: readonly string[]
  /** Whether queues that workers use, or have used, are looked at as well: of a shared broker they may be others' business. */
  readonly allQueues: boolean
  readonly defaultQueue: string
  readonly presenceKey: string
  /** The beat's name in the broker. */
  readonly beat: string
  readonly schedules: readonly Schedule[]
  /** How long workers may take to answer, in milliseconds. */
  readonly askMs: number
}

/** Of each priority of a queue so many of the oldest messages are searched for a schedule's. */
const MOST_SEARCHED = 500
/** Schedules that are judged without a pause. */
const SLICE = 100
/** Kombu's own. */
const VISIBILITY_SECONDS = 3600

/**
 * @param settings of workers that need not be asked for them again
 * @throws BrokerError when the broker can't be asked for what everything else rests on
 */
export async function survey(
  { store, transport, askMs }: Pick<Ground, 'store' | 'transport' | 'askMs'>,
  settings: Survey['settings'] = new Map(),
): Promise<Survey> {
  const told = await answer(() => readConsumers(transport, askMs, settings))
  const { consumers, settings: known } = told.known ? told.value : { consumers: told, settings }
  return {
    consumers,
    settings: known,
    safety: await store.readSafety(),
    deadLetters: await answer(() => store.deadLetters()),
    unacked: await answer(() => store.readUnacked()),
  }
}

/**
 * @param surveyed what somebody else has just been told by the same broker; asked anew when it is left out
 * @throws BrokerError when the broker can't be asked for what everything else rests on
 */
export async function look(ground: Ground, surveyed?: Survey): Promise<Look> {
  const { store, clock } = ground
  const { brokerMs } = await store.time()
  const told = surveyed ?? (await survey(ground))
  const depth = await store.depth(await queuesOf(ground, told))
  return {
    ...told,
    at: clock.monotonic(),
    brokerMs,
    depth,
    presence: await answer(() => store.readPresence(ground.presenceKey)),
    schedules: await answer(() => readSchedules(ground, brokerMs, depth)),
  }
}

async function queuesOf(
  { store, queues, allQueues, schedules, defaultQueue }: Ground,
  told: Survey,
): Promise<string[]> {
  const ours = [...queues, ...schedules.map(({ queue }) => queue ?? defaultQueue)]
  if (!allQueues) return [...new Set(ours)]
  const used = await answer(() => store.readQueues())
  const consumed = (told.consumers.known ? told.consumers.value : []).flatMap((consumer) => consumer.queues)
  return [...new Set([...ours, ...(used.known ? used.value : []), ...consumed])]
}

/** What the broker refuses is an answer; that it is away is none. */
async function answer<T>(ask: () => Promise<T>): Promise<Answer<T>> {
  try {
    return { known: true, value: await ask() }
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    if (error.code !== 'BrokerAuthFailed' && error.code !== 'BrokerRefused') throw error
    return { known: false, why: error.message }
  }
}

/** @throws BrokerError */
async function readConsumers(
  transport: Ground['transport'],
  askMs: number,
  known: Survey['settings'],
): Promise<Pick<Survey, 'consumers' | 'settings'>> {
  const told = await askTogether(transport, ['active_queues', 'stats', 'active'], { timeoutMs: askMs })
  const [queues, stats, active] = [told.answers('active_queues'), told.answers('stats'), told.answers('active')]
  const names = Object.keys(queues)
  const strangers = names.filter((name) => !known.has(name))
  const asked = await askSettings(transport, askMs, strangers)
  if (!told.complete || !asked) return { consumers: TOO_MUCH, settings: known }
  // Of those who are gone nothing is kept.
  const settings = new Map(
    names.flatMap((name) => {
      const said = known.get(name) ?? asked.get(name)
      return said ? [[name, said] as const] : []
    }),
  )
  const value = names.map((name) =>
    consumer(name, queues[name], { stats: object(stats[name]), active: active[name], settings: settings.get(name) }),
  )
  return { consumers: { known: true, value }, settings }
}

const TOO_MUCH = { known: false, why: 'workers answer more than can be taken' } as const

/** @returns undefined when there was too much of it */
async function askSettings(
  transport: Ground['transport'],
  askMs: number,
  workers: readonly string[],
): Promise<ReadonlyMap<string, WorkerSettings> | undefined> {
  if (workers.length === 0) return new Map()
  const told = await askTogether(transport, ['conf'], { destination: workers, timeoutMs: askMs })
  if (!told.complete) return undefined
  return new Map(
    Object.entries(told.answers('conf')).map(([name, conf]) => {
      const options = object(object(conf)?.['broker_transport_options'])
      const visibilitySeconds = number(options?.['visibility_timeout']) ?? VISIBILITY_SECONDS
      return [name, { visibilitySeconds, timeLimitSeconds: number(object(conf)?.['task_time_limit']) }]
    }),
  )
}

interface Told {
  readonly stats: Readonly<Record<string, unknown>> | undefined
  readonly active: unknown
  readonly settings: WorkerSettings | undefined
}

function consumer(name: string, queues: unknown, { stats, active, settings }: Told): Consumer {
  const pool = object(stats?.['pool'])
  const python = String(pool?.['implementation']).startsWith('celery.')
  const total = object(stats?.['total'])
  return {
    name,
    python,
    queues: Array.isArray(queues) ? queues.flatMap((queue) => text(object(queue)?.['name'])) : [],
    processed: total && Object.values(total).reduce((sum: number, n) => sum + (number(n) ?? 0), 0),
    busy: Array.isArray(active) ? active.length : undefined,
    slots: number(pool?.['max-concurrency']),
    visibilitySeconds: settings?.visibilitySeconds,
    timeLimitSeconds: longest(settings?.timeLimitSeconds, hardLimit(pool?.['timeouts'])),
  }
}

/** Of `celery worker --time-limit`, which its settings don't know: the pool tells its soft and its hard limit, 0 for none. */
function hardLimit(timeouts: unknown): number | undefined {
  return Array.isArray(timeouts) ? number((timeouts as unknown[])[1]) : undefined
}

function longest(...limits: readonly (number | undefined)[]): number | undefined {
  const set = limits.filter((limit) => limit !== undefined)
  return set.length === 0 ? undefined : Math.max(...set)
}

async function readSchedules(ground: Ground, now: number, depth: Depth): Promise<ScheduleSeen[]> {
  const { store, beat, schedules } = ground
  if (schedules.length === 0) return []
  const [cursors, paused] = [await store.readCursors(beat), await store.readPausedSchedules(beat)]
  const sent = new Map(schedules.flatMap((schedule) => lastSent(schedule, cursors.get(schedule.name), beat)))
  const waits = await readWaiting(ground, sent, depth)
  const seen: ScheduleSeen[] = []
  for (const [i, schedule] of schedules.entries()) {
    // Ten thousand of them must not hold up who else works in this process.
    if (i % SLICE === SLICE - 1) await new Promise((resolve) => setImmediate(resolve))
    const { name, trigger } = schedule
    const cursor = cursors.get(name)
    // What never comes again needs no place.
    if (!cursor && trigger.next(now) === undefined) continue
    const last = sent.get(name)
    seen.push({
      name,
      paused: paused.has(name),
      known: cursor !== undefined,
      overdueSeconds: cursor ? overdueSeconds(schedule, cursor, now) : 0,
      sentSecondsAgo: last ? Math.max(0, Math.floor((now - last.at) / 1000)) : null,
      waits: last === undefined ? false : waits(last.id),
    })
  }
  return seen
}

/** A schedule's last slot as a message: its task's id, and when it was sent. */
interface LastSent {
  readonly id: string
  readonly at: number
}

function lastSent(schedule: Schedule, cursor: Cursor | undefined, beat: string): [name: string, sent: LastSent][] {
  const slot = lastSlotOf(schedule, cursor)
  const at = cursor?.firedAt ?? null
  if (slot === undefined || at === null || at < slot) return []
  return [[schedule.name, { id: slotTaskId(beat, schedule.name, slot), at }]]
}

/**
 * Which of them lie in their queues still; undefined when that can't be told. A queue is searched once, however many schedules send to
 * it, and an empty one not at all.
 */
async function readWaiting(
  { store, schedules, defaultQueue }: Ground,
  sent: ReadonlyMap<string, LastSent>,
  { queues }: Depth,
): Promise<(id: string) => boolean | undefined> {
  const ids = new Map<string, string[]>()
  for (const { name, queue = defaultQueue } of schedules) {
    const last = sent.get(name)
    if (last) ids.set(queue, [...(ids.get(queue) ?? []), last.id])
  }
  const told = new Map<string, true | undefined>()
  for (const { queue, waiting } of queues) {
    const wanted = ids.get(queue) ?? []
    if (waiting === 0 || wanted.length === 0) continue
    const { found, complete } = await store.waitingAmong(queue, wanted, MOST_SEARCHED)
    for (const id of wanted) if (found.has(id) || !complete) told.set(id, found.has(id) || undefined)
  }
  return (id) => (told.has(id) ? told.get(id) : false)
}

function object(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return isJsonObject(value) ? value : undefined
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

function text(value: unknown): string[] {
  return typeof value === 'string' ? [value] : []
}
