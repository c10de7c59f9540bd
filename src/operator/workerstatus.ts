// What status says of the worker pools: figures, WorkersAvailable, QueuesServed. Pure.

import { sentences, type Finding } from './conditions.ts'
import { queuesOf, startedByBacklog } from './desired/environment.ts'
import { labelKeys, names } from './desired/names.ts'
import type { QueueDepth } from './inspect/observation.ts'
import { queueFindings, sentenceOf } from './patrolfinding.ts'
import { podTrouble, type PodTrouble } from './podtrouble.ts'
import { poolPresence } from './poolpresence.ts'
import type { Situation } from './situation.ts'
import type { TaskQueueStatus, WorkerPool } from './taskqueue.ts'

/** The figures of the printer columns; those of the broker are absent while it can't be asked. */
export function figures(
  { queue, broker }: Situation,
  pools: readonly PoolStatus[],
): Pick<TaskQueueStatus, 'workers' | 'backlog' | 'inFlight' | 'parked'> {
  const workers = `${sum(pools.map((p) => p.ready))}/${sum(pools.map((p) => p.wanted))}`
  if (!broker?.reachable) return { workers }
  const depths = [...broker.queues.values()]
  const foreign = queue.spec.engine === 'Celery' ? broker.foreignInFlight : 0
  return {
    workers,
    backlog: sum(depths.map((d) => d.waiting)),
    inFlight: sum(depths.map((d) => d.inFlight)) + foreign,
    parked: sum(depths.map((d) => d.parked)),
  }
}

export type PoolStatus = NonNullable<TaskQueueStatus['pools']>[number]

export function poolStatus(pool: WorkerPool, situation: Situation): PoolStatus {
  const name = names.deployment(situation.queue, pool)
  const live = situation.deployments.get(name)
  const broker = situation.broker
  const queues = queuesOf(situation.queue, pool)
  const scale = situation.scales.get(pool.name)
  const before = scale?.before
  const busy = busySlots(pool, situation)
  return {
    name: pool.name,
    deployment: name,
    queues,
    ready: live?.status?.readyReplicas ?? 0,
    wanted: scale?.replicas ?? live?.spec.replicas ?? 0,
    ...(broker?.reachable ? { backlog: sum(queues.map((queue) => broker.queues.get(queue)?.waiting ?? 0)) } : {}),
    ...(busy === undefined ? {} : { busy }),
    ...(before === undefined ? {} : { suspendedReplicas: before }),
  }
}

/** What the pool's workers run, as far as they tell; undefined while none does. Python's don't. */
function busySlots(pool: WorkerPool, situation: Situation): number | undefined {
  const told = poolPresence(pool, situation).filter(({ kind }) => kind === 'worker')
  return told.length === 0 ? undefined : sum(told.map(({ busySlots: busy }) => busy))
}

export function workersFinding(situation: Situation, pools: readonly PoolStatus[]): Finding {
  const type = 'WorkersAvailable'
  const short = pools.filter((pool) => pool.ready < pool.wanted)
  const stale = pools.filter((pool) => situation.rolling.has(pool.deployment ?? ''))
  if (short.length === 0 && stale.length === 0) {
    return { type, status: 'True', reason: 'AllReady', message: 'Every pool has the pods that it should have.' }
  }
  const trouble = poolTrouble(situation, [...short, ...stale])
  const figures = short.map((pool) => `pool ${pool.name} has ${pool.ready} of ${pool.wanted} pods ready`).join(', ')
  if (trouble)
    return {
      type,
      status: 'False',
      reason: trouble.reason,
      message: `${trouble.message}${figures === '' ? '' : ` (${figures})`}`,
    }
  const message = figures === '' ? 'New pods are replacing old ones.' : `${figures}: they are starting.`
  // While pods are replaced one by one, the old ones serve: nothing is missing.
  return {
    type,
    status: short.length > 0 ? 'False' : 'True',
    reason: short.length > 0 ? 'Starting' : 'Rolling',
    message,
  }
}

function poolTrouble(situation: Situation, pools: readonly PoolStatus[]): PodTrouble | undefined {
  for (const pool of pools) {
    const conditions = situation.deployments.get(pool.deployment ?? '')?.status?.conditions ?? []
    const failed = conditions.find((c) => c.type === 'ReplicaFailure' && c.status === 'True')
    if (failed) return { reason: failed.reason ?? 'FailedCreate', message: failed.message ?? 'pods can not be created' }
  }
  for (const pod of situation.pods) {
    const pool = pod.metadata.labels?.[labelKeys.pool]
    const trouble = pools.some((p) => p.name === pool) ? podTrouble(pod) : undefined
    if (trouble) return trouble
  }
  return undefined
}

export function queuesFinding(situation: Situation, pools: readonly PoolStatus[]): Finding {
  const { broker, queue } = situation
  const type = 'QueuesServed'
  if (!broker?.reachable)
    return { type, status: 'Unknown', reason: 'BrokerUnreachable', message: 'The broker can not be asked for backlog.' }
  const served = new Set(pools.filter((pool) => pool.ready > 0).flatMap((pool) => pool.queues ?? []))
  const waiting = [...broker.queues].filter(([name, depth]) => depth.waiting > 0 && !served.has(name))
  if (waiting.length > 0 && queue.spec.suspend)
    return { type, status: 'True', reason: 'Suspended', message: `Waiting while suspended: ${listOf(waiting)}.` }
  // Pods that are made only once something waits: patrol tells of them when they are late.
  const starting = new Set(startedByBacklog(queue))
  const alone = waiting.filter(([name]) => !starting.has(name))
  const seen = queueFindings(situation)
  if (alone.length > 0) {
    const told = new Set(alone.map(([name]) => `queue ${name}`))
    const others = seen.filter(({ subject }) => !told.has(subject)).map(sentenceOf)
    const message = `No worker is ready for what waits in ${listOf(alone)}: see WorkersAvailable, or give a pool in spec.workers these queues.`
    return { type, status: 'False', reason: 'NoConsumer', message: sentences([message, ...others]) }
  }
  const [first] = seen
  if (first) return { type, status: 'False', reason: first.code, message: sentences(seen.map(sentenceOf)) }
  if (waiting.length > 0)
    return {
      type,
      status: 'True',
      reason: 'Starting',
      message: `Pods are started for what waits in ${listOf(waiting)}.`,
    }
  return { type, status: 'True', reason: 'Served', message: 'Every queue with a backlog has a ready worker.' }
}

function listOf(waiting: readonly (readonly [name: string, depth: QueueDepth])[]): string {
  return waiting.map(([name, depth]) => `${name} (${depth.waiting})`).join(', ')
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, n) => total + n, 0)
}
