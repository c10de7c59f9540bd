// The remote control methods a worker answers, with the shapes that `celery inspect` and Flower read.
import type { Parked } from '../broker/transport.ts'
import { asError } from '../errors.ts'
import { decodeEnvelope, isJsonObject, type JsonObject } from '../protocol/envelope.ts'
import { formatInstant } from '../protocol/instant.ts'
import { decodeTask, type TaskMessage } from '../protocol/task-message.ts'
import { queueName } from '../settings.ts'
import { VERSION } from '../version.ts'
import type { ControlMethod } from './pidbox.ts'

/** A running task, as far as monitors are told. */
export interface ActiveTask {
  readonly message: TaskMessage
  readonly queue: string
  readonly redelivered: boolean
  /** Milliseconds since the epoch. */
  readonly startedAt: number
}

/** What the methods ask of a worker. */
export interface WorkerView {
  readonly hostname: string
  readonly queues: () => readonly string[]
  readonly concurrency: () => number
  /** What its pool is called. */
  readonly pool: string
  readonly taskNames: () => readonly string[]
  readonly active: () => readonly ActiveTask[]
  readonly totals: () => ReadonlyMap<string, number>
  readonly uptimeSeconds: () => number
  readonly clock: () => number
  readonly broker: { readonly hostname: string; readonly port: number; readonly virtualHost: string }
  /** Settings as Celery names them, secrets redacted. */
  readonly configuration: () => Readonly<Record<string, unknown>>
  /** Messages that wait in the broker for their time, the next ones first. */
  readonly parked: (limit: number) => Promise<readonly Parked[]>
  readonly heartbeat: () => Promise<void>
  readonly setEvents: (enabled: boolean) => boolean
  readonly shutdown: () => void
}

/** What the methods may change in a worker. */
export interface WorkerSteering {
  /** Calls tasks off; with `terminate` those that run as well. Resolves with the ids of those that were ended. */
  readonly revoke: (ids: readonly string[], terminate: boolean) => Promise<readonly string[]>
  readonly revoked: () => readonly string[]
  /** Another worker's revoked ids. */
  readonly learnRevoked: (ids: readonly string[]) => void
  readonly rateLimit: (task: string) => string | undefined
  /** @throws UsageError for a text that is no rate */
  readonly setRateLimit: (task: string, text: string) => void
  readonly setTimeLimits: (task: string, limits: { soft: number | undefined; hard: number | undefined }) => boolean
  readonly addQueue: (queue: string) => Promise<unknown>
  readonly removeQueue: (queue: string) => unknown
  /** So many slots more, or less. */
  readonly grow: (slots: number) => void
}

/** `inspect scheduled` reads no more than this: there may be millions. */
const MOST_SCHEDULED = 100

/** What a method is told to anybody who asks. */
export function inspectMethods(worker: WorkerView, steering: WorkerSteering): Readonly<Record<string, ControlMethod>> {
  const registered = (): string[] =>
    [...worker.taskNames()].sort().map((name) => {
      const rate = steering.rateLimit(name)
      return rate === undefined ? name : `${name} [rate_limit=${rate}]`
    })
  return {
    ping: () => ({ ok: 'pong' }),
    active: () => worker.active().map((task) => activeInfo(worker.hostname, task)),
    // Nothing is taken beyond the free slots, so nothing is reserved without running.
    reserved: () => [],
    scheduled: async () =>
      (await worker.parked(MOST_SCHEDULED)).map((parked) => scheduledInfo(worker.hostname, parked)),
    revoked: () => steering.revoked(),
    registered,
    active_queues: () => worker.queues().map(queueInfo),
    stats: () => stats(worker),
    conf: () => worker.configuration(),
    report: () => ({ ok: report(worker) }),
    clock: () => ({ clock: worker.clock() }),
    query_task: (args) => {
      const ids = new Set(texts(args['ids']))
      const found = worker.active().filter(({ message }) => ids.has(message.id))
      return Object.fromEntries(found.map((task) => [task.message.id, ['active', activeInfo(worker.hostname, task)]]))
    },
    hello: (args) => {
      if (args['from_node'] === worker.hostname) return undefined
      // A dict up to Celery 5.6, a list from 5.7 on; a list is read by both.
      const { revoked } = args
      steering.learnRevoked(isJsonObject(revoked) ? Object.keys(revoked) : texts(revoked))
      return { revoked: steering.revoked(), clock: worker.clock() }
    },
  }
}

/** What changes a worker. Answers are Celery's own. */
export function steeringMethods(worker: WorkerView, steering: WorkerSteering): Readonly<Record<string, ControlMethod>> {
  const revoke = async (args: JsonObject, terminate: boolean): Promise<unknown> => {
    const ids = [...new Set(texts(args['task_id']))]
    const ended = await steering.revoke(ids, terminate)
    if (!terminate) return { ok: `tasks {${ids.map((id) => `'${id}'`).join(', ')}} flagged as revoked` }
    return { ok: `terminate: ${ended.length > 0 ? ended.join(', ') : 'tasks unknown'}` }
  }
  const known = (args: JsonObject): string | undefined => {
    const name = args['task_name']
    return typeof name === 'string' && worker.taskNames().includes(name) ? name : undefined
  }
  const slots = (args: JsonObject): number => Math.max(1, Math.trunc(seconds(args['n']) ?? 1))
  return {
    heartbeat: async () => {
      await worker.heartbeat()
    },
    enable_events: () => ({ ok: worker.setEvents(true) ? 'task events enabled' : 'task events already enabled' }),
    disable_events: () => ({ ok: worker.setEvents(false) ? 'task events disabled' : 'task events already disabled' }),
    shutdown: () => worker.shutdown(),
    // Python's truth: Flower sends 1.
    revoke: (args) => revoke(args, Boolean(args['terminate'])),
    terminate: (args) => revoke(args, true),
    rate_limit: (args) => {
      const task = known(args)
      const limit = args['rate_limit']
      const text = typeof limit === 'string' || typeof limit === 'number' ? String(limit) : ''
      if (task === undefined) return { error: 'unknown task' }
      try {
        steering.setRateLimit(task, text)
      } catch (error) {
        return { error: `Invalid rate limit string: ${asError(error).message}` }
      }
      const off = steering.rateLimit(task) === undefined
      return { ok: off ? 'rate limit disabled successfully' : 'new rate limit set successfully' }
    },
    time_limit: (args) => {
      const limits = { soft: seconds(args['soft']), hard: seconds(args['hard']) }
      const task = known(args)
      if (task === undefined || !steering.setTimeLimits(task, limits)) return { error: 'unknown task' }
      return { ok: 'time limits set successfully' }
    },
    add_consumer: async (args) => {
      const queue = queueName('the queue', String(args['queue']))
      await steering.addQueue(queue)
      return { ok: `add consumer ${queue}` }
    },
    cancel_consumer: (args) => {
      steering.removeQueue(String(args['queue']))
      return { ok: `no longer consuming from ${String(args['queue'])}` }
    },
    pool_grow: (args) => {
      steering.grow(slots(args))
      return { ok: 'pool will grow' }
    },
    pool_shrink: (args) => {
      steering.grow(-slots(args))
      return { ok: 'pool will shrink' }
    },
  }
}

/** One text, or a list of them. */
function texts(value: unknown): string[] {
  return (Array.isArray(value) ? (value as unknown[]) : [value]).filter((one) => typeof one === 'string')
}

/** A positive number, also as text, which command lines send. */
function seconds(value: unknown): number | undefined {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  return typeof number === 'number' && number > 0 && Number.isFinite(number) ? number : undefined
}

function report(worker: WorkerView): string {
  const { broker } = worker
  return [
    `software -> taskqueue:${VERSION} node:${process.versions.node}`,
    `platform -> system:${process.platform} arch:${process.arch}`,
    `worker   -> ${worker.hostname} queues:${worker.queues().join(',')} concurrency:${worker.concurrency()}`,
    `broker   -> redis://${broker.hostname}:${broker.port}/${broker.virtualHost}`,
  ].join('\n')
}

function requestInfo(
  hostname: string,
  message: TaskMessage,
  queue: string,
  redelivered: boolean,
): Record<string, unknown> {
  return {
    id: message.id,
    name: message.task,
    args: message.args,
    kwargs: message.kwargs,
    type: message.task,
    hostname,
    acknowledged: false,
    delivery_info: { exchange: '', routing_key: queue, priority: message.priority, redelivered },
  }
}

function activeInfo(hostname: string, task: ActiveTask): Record<string, unknown> {
  return {
    ...requestInfo(hostname, task.message, task.queue, task.redelivered),
    time_start: task.startedAt / 1000,
    worker_pid: process.pid,
  }
}

function scheduledInfo(hostname: string, parked: Parked): Record<string, unknown> {
  const eta = formatInstant(parked.dueAt)
  try {
    const message = decodeTask(decodeEnvelope(parked.raw, { maxBodyBytes: 16 * 1024 * 1024 }))
    return { eta, priority: message.priority, request: requestInfo(hostname, message, parked.queue, false) }
  } catch {
    return { eta, priority: 0, request: null }
  }
}

function queueInfo(name: string): Record<string, unknown> {
  return {
    name,
    exchange: {
      name,
      type: 'direct',
      arguments: null,
      durable: true,
      passive: false,
      auto_delete: false,
      delivery_mode: null,
      no_declare: false,
    },
    routing_key: name,
    queue_arguments: null,
    binding_arguments: null,
    consumer_arguments: null,
    durable: true,
    exclusive: false,
    auto_delete: false,
    no_ack: false,
    alias: null,
    bindings: [],
    no_declare: null,
    expires: null,
    message_ttl: null,
    max_length: null,
    max_length_bytes: null,
    max_priority: null,
  }
}

function stats(worker: WorkerView): Record<string, unknown> {
  const usage = process.resourceUsage()
  return {
    total: Object.fromEntries(worker.totals()),
    pid: process.pid,
    clock: String(worker.clock()),
    uptime: Math.floor(worker.uptimeSeconds()),
    pool: {
      implementation: worker.pool,
      'max-concurrency': worker.concurrency(),
      processes: [process.pid],
      'max-tasks-per-child': 'N/A',
      'put-guarded-by-semaphore': true,
      timeouts: [0, 0],
      writes: { total: 0, avg: '0.00', all: '', raw: '', strategy: 'none', inqueues: { total: 0, active: 0 } },
    },
    broker: {
      hostname: worker.broker.hostname,
      port: worker.broker.port,
      transport: 'redis',
      virtual_host: worker.broker.virtualHost,
      userid: null,
      ssl: false,
    },
    prefetch_count: worker.concurrency(),
    rusage: {
      utime: usage.userCPUTime / 1e6,
      stime: usage.systemCPUTime / 1e6,
      maxrss: usage.maxRSS,
      minflt: usage.minorPageFault,
      majflt: usage.majorPageFault,
      inblock: usage.fsRead,
      oublock: usage.fsWrite,
      nvcsw: usage.voluntaryContextSwitches,
      nivcsw: usage.involuntaryContextSwitches,
    },
  }
}
