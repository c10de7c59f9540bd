// One look at a broker and at those who work there. Only reads; what follows from it is judged elsewhere.
import { lastSlotOf, overdueSeconds, slotTaskId } from '../beat/overdue.ts'
import type { RedisStore } from '../broker/redis/store.ts'
import type { Answer } from '../broker/safety.ts'
import type { Cursor } from '../broker/store.ts'
import type { Transport } from '../broker/transport.ts'
import type { Clock } from '../clock.ts'
import { askWorkers } from '../control/ask-workers.ts'
import { BrokerError } from '../errors.ts'
import { isJsonObject } from '../protocol/envelope.ts'
import type { Schedule } from '../triggers/schedule.ts'
import type { Consumer, Look, ScheduleSeen } from './look.ts'

export interface Ground {
  readonly store: RedisStore
  readonly transport: Pick<Transport, 'request'>
  readonly clock: Clock
  /** Looked at beside those that workers use. */
  readonly queues: readonly string[]
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
/** Kombu's own. */
const VISIBILITY_SECONDS = 3600

/** @throws BrokerError when the broker can't be asked for what everything else rests on */
export async function look(ground: Ground): Promise<Look> {
  const { store, clock } = ground
  const { brokerMs } = await store.time()
  const consumers = await answer(() => readConsumers(ground))
  const used = await answer(() => store.readQueues())
  const queues = new Set([
    ...ground.queues,
    ...ground.schedules.map(({ queue }) => queue ?? ground.defaultQueue),
    ...(used.known ? used.value : []),
    ...(consumers.known ? consumers.value : []).flatMap((consumer) => consumer.queues),
  ])
  return {
    at: clock.monotonic(),
    brokerMs,
    safety: await store.readSafety(),
    depth: await store.depth([...queues]),
    consumers,
    presence: await answer(() => store.readPresence(ground.presenceKey)),
    deadLetters: await answer(() => store.countDeadLetters()),
    unacked: await answer(() => store.readUnacked()),
    schedules: await answer(() => readSchedules(ground, brokerMs)),
  }
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

async function readConsumers({ transport, askMs }: Ground): Promise<Consumer[]> {
  const ask = (method: string): Promise<Record<string, unknown>> => askWorkers(transport, method, { timeoutMs: askMs })
  const [queues, stats, active, conf] = await Promise.all([
    ask('active_queues'),
    ask('stats'),
    ask('active'),
    ask('conf'),
  ])
  return Object.entries(queues).map(([name, told]) =>
    consumer(name, told, { stats: object(stats[name]), active: active[name], conf: object(conf[name]) }),
  )
}

interface Told {
  readonly stats: Readonly<Record<string, unknown>> | undefined
  readonly active: unknown
  readonly conf: Readonly<Record<string, unknown>> | undefined
}

function consumer(name: string, queues: unknown, { stats, active, conf }: Told): Consumer {
  const pool = object(stats?.['pool'])
  const python = String(pool?.['implementation']).startsWith('celery.')
  const total = object(stats?.['total'])
  const options = object(conf?.['broker_transport_options'])
  return {
    name,
    python,
    queues: Array.isArray(queues) ? queues.flatMap((queue) => text(object(queue)?.['name'])) : [],
    processed: total && Object.values(total).reduce((sum: number, n) => sum + (number(n) ?? 0), 0),
    busy: Array.isArray(active) ? active.length : undefined,
    slots: number(pool?.['max-concurrency']),
    visibilitySeconds: conf && (number(options?.['visibility_timeout']) ?? VISIBILITY_SECONDS),
    timeLimitSeconds: longest(number(conf?.['task_time_limit']), hardLimit(pool?.['timeouts'])),
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

async function readSchedules(ground: Ground, now: number): Promise<ScheduleSeen[]> {
  const { store, beat, schedules } = ground
  if (schedules.length === 0) return []
  const [cursors, paused] = [await store.readCursors(beat), await store.readPausedSchedules(beat)]
  const sent = new Map(schedules.flatMap((schedule) => lastSent(schedule, cursors.get(schedule.name), beat)))
  const waiting = await readWaiting(ground, sent)
  return schedules.flatMap((schedule): ScheduleSeen[] => {
    const { name, trigger } = schedule
    const cursor = cursors.get(name)
    // What never comes again needs no place.
    if (!cursor && trigger.next(now) === undefined) return []
    const last = sent.get(name)
    return [
      {
        name,
        paused: paused.has(name),
        known: cursor !== undefined,
        overdueSeconds: cursor ? overdueSeconds(schedule, cursor, now) : 0,
        sentSecondsAgo: last ? Math.max(0, Math.floor((now - last.at) / 1000)) : null,
        waits: last !== undefined && waiting.has(last.id),
      },
    ]
  })
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

/** The ids of those that lie in their queues still. A queue is searched once, however many schedules send to it. */
async function readWaiting(
  { store, schedules, defaultQueue }: Ground,
  sent: ReadonlyMap<string, LastSent>,
): Promise<ReadonlySet<string>> {
  const ids = new Map<string, string[]>()
  for (const { name, queue = defaultQueue } of schedules) {
    const last = sent.get(name)
    if (last) ids.set(queue, [...(ids.get(queue) ?? []), last.id])
  }
  const found = new Set<string>()
  for (const [queue, wanted] of ids)
    for (const id of await store.waitingAmong(queue, wanted, MOST_SEARCHED)) found.add(id)
  return found
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
