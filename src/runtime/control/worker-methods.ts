// The remote control methods a worker answers, with the shapes that `celery inspect` and Flower read.
import type { Parked } from '../broker/transport.ts'
import { decodeEnvelope } from '../protocol/envelope.ts'
import { formatInstant } from '../protocol/instant.ts'
import { decodeTask, type TaskMessage } from '../protocol/task-message.ts'
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
  readonly queues: readonly string[]
  readonly concurrency: number
  readonly taskNames: () => readonly string[]
  readonly active: () => readonly ActiveTask[]
  readonly totals: () => ReadonlyMap<string, number>
  readonly uptimeSeconds: () => number
  readonly clock: () => number
  readonly broker: { readonly hostname: string; readonly port: number; readonly virtualHost: string }
  /** Messages that wait in the broker for their time, the next ones first. */
  readonly parked: (limit: number) => Promise<readonly Parked[]>
  readonly heartbeat: () => Promise<void>
  readonly setEvents: (enabled: boolean) => boolean
  readonly shutdown: () => void
}

/** `inspect scheduled` reads no more than this: there may be millions. */
const MOST_SCHEDULED = 100

export function workerMethods(worker: WorkerView): Readonly<Record<string, ControlMethod>> {
  return {
    ping: () => ({ ok: 'pong' }),
    active: () => worker.active().map((task) => activeInfo(worker.hostname, task)),
    // Nothing is taken beyond the free slots, so nothing is reserved without running.
    reserved: () => [],
    scheduled: async () =>
      (await worker.parked(MOST_SCHEDULED)).map((parked) => scheduledInfo(worker.hostname, parked)),
    revoked: () => [],
    registered: () => [...worker.taskNames()].sort(),
    active_queues: () => worker.queues.map(queueInfo),
    stats: () => stats(worker),
    hello: (args) => (args['from_node'] === worker.hostname ? undefined : { revoked: {}, clock: worker.clock() }),
    heartbeat: async () => {
      await worker.heartbeat()
    },
    enable_events: () => ({ ok: worker.setEvents(true) ? 'task events enabled' : 'task events already enabled' }),
    disable_events: () => ({ ok: worker.setEvents(false) ? 'task events disabled' : 'task events already disabled' }),
    shutdown: () => worker.shutdown(),
  }
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
      implementation: 'taskqueue:async',
      'max-concurrency': worker.concurrency,
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
    prefetch_count: worker.concurrency,
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
