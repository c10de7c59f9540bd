// One look at a broker and at those who work there. Only reads; what follows from it is judged elsewhere.
import { lastSlotOf, overdueSeconds, slotTaskId } from '../beat/overdue.ts'
import type { RedisStore } from '../broker/redis/store.ts'
import type { Answer } from '../broker/safety.ts'
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
  const seen: ScheduleSeen[] = []
  for (const schedule of schedules) {
    const { name, trigger, queue } = schedule
    const cursor = cursors.get(name)
    // What never comes again needs no place.
    if (!cursor && trigger.next(now) === undefined) continue
    const slot = lastSlotOf(schedule, cursor)
    const firedAt = cursor?.firedAt ?? null
    const sent = slot !== undefined && firedAt !== null && firedAt >= slot
    const id = sent ? slotTaskId(beat, name, slot) : undefined
    const waiting = id && (await store.waitingAmong(queue ?? ground.defaultQueue, [id], MOST_SEARCHED))
    seen.push({
      name,
      paused: paused.has(name),
      known: cursor !== undefined,
      overdueSeconds: cursor ? overdueSeconds(schedule, cursor, now) : 0,
      sentSecondsAgo: sent ? Math.max(0, Math.floor((now - firedAt) / 1000)) : null,
      waits: waiting ? waiting.size > 0 : false,
    })
  }
  return seen
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
