// From a TaskQueue and everything observed to its status: conditions with a message that tells a person what to do, and the
// figures behind the printer columns. Pure. Unknown is a value of its own: nothing is concluded from what could not be asked.

import { clockFinding, worstSkew, type Skew } from './skew.ts'
import { conditionsFrom, type Finding } from './conditions.ts'
import type { Desired } from './desired/index.ts'
import { queuesOf } from './desired/environment.ts'
import { labelKeys, names } from './desired/names.ts'
import type { BeatHistory } from './beatpod.ts'
import type { BrokerObservation } from './inspect/observation.ts'
import { timestamp, type LiveDeployment, type LivePod } from './objects.ts'
import { podTrouble, type PodTrouble } from './podtrouble.ts'
import { schedulesHash, shortHash } from './desired/schedules.ts'
import type { TaskQueue, TaskQueueStatus, WorkerPool } from './taskqueue.ts'

/** Everything that status is made from. */
export interface Situation {
  queue: TaskQueue
  desired: Desired
  deployments: ReadonlyMap<string, LiveDeployment>
  /** Pods of the TaskQueue, workers' and beat's. */
  pods: readonly LivePod[]
  beatPod: LivePod | undefined
  beatHistory: BeatHistory
  /** Why beat can not be made now, when it can not. */
  beatRefusal?: string
  broker: BrokerObservation | undefined
  /** What the API server, or a name that is taken, kept the operator from writing. One sentence each. */
  refused: readonly string[]
  /** The number of pods that each pool should have; undefined where an HPA owns it. */
  wanted: ReadonlyMap<string, number | undefined>
  /** The numbers to come back to after suspend. */
  suspendedReplicas: ReadonlyMap<string, number>
  now: Date
}

/** The status to write and the findings that its conditions are made of. */
export function statusOf(situation: Situation): { status: TaskQueueStatus; findings: Finding[] } {
  const { queue, broker } = situation
  const pools = (queue.spec.workers ?? []).map((pool) => poolStatus(pool, situation))
  const skew = worstSkew(broker, situation.pods)
  const findings = findingsOf(situation, pools, skew)
  const generation = queue.metadata.generation ?? 0
  const hash = loadedHash(situation)
  const { restarts, notBefore, lastCreated } = situation.beatHistory
  const status: TaskQueueStatus = {
    observedGeneration: generation,
    workers: `${sum(pools.map((p) => p.ready))}/${sum(pools.map((p) => p.wanted))}`,
    ...totals(queue, broker),
    pools,
    beat: {
      state: beatState(situation),
      ...(queue.spec.beat ? { pod: names.beatPod(queue) } : {}),
      ...(restarts > 0 ? { restarts } : {}),
      ...(notBefore ? { notBefore: timestamp(notBefore) } : {}),
      ...(lastCreated ? { lastCreated: timestamp(lastCreated) } : {}),
      ...(hash === undefined ? {} : { schedulesHash: hash }),
    },
    clock: { skew: skew.text, ...(skew.pod === undefined ? {} : { pod: skew.pod }) },
    conditions: conditionsFrom(findings, queue.status?.conditions ?? [], generation, situation.now),
  }
  return { status, findings }
}

type PoolStatus = NonNullable<TaskQueueStatus['pools']>[number]

function poolStatus(pool: WorkerPool, situation: Situation): PoolStatus {
  const name = names.deployment(situation.queue, pool)
  const live = situation.deployments.get(name)
  const broker = situation.broker
  const queues = queuesOf(situation.queue, pool)
  const before = situation.suspendedReplicas.get(pool.name)
  return {
    name: pool.name,
    deployment: name,
    queues,
    ready: live?.status?.readyReplicas ?? 0,
    wanted: situation.wanted.get(pool.name) ?? live?.spec.replicas ?? 0,
    ...(broker?.reachable ? { backlog: sum(queues.map((queue) => broker.queues.get(queue)?.waiting ?? 0)) } : {}),
    ...(before === undefined ? {} : { suspendedReplicas: before }),
  }
}

function totals(
  queue: TaskQueue,
  broker: BrokerObservation | undefined,
): Pick<TaskQueueStatus, 'backlog' | 'inFlight' | 'parked'> {
  if (!broker?.reachable) return {}
  const depths = [...broker.queues.values()]
  const foreign = queue.spec.engine === 'Celery' ? broker.foreignInFlight : 0
  return {
    backlog: sum(depths.map((d) => d.waiting)),
    inFlight: sum(depths.map((d) => d.inFlight)) + foreign,
    parked: sum(depths.map((d) => d.parked)),
  }
}

function findingsOf(situation: Situation, pools: readonly PoolStatus[], skew: Skew): Finding[] {
  const parts: Finding[] = [
    brokerFinding(situation.broker),
    ...(pools.length > 0 ? [workersFinding(situation, pools), queuesFinding(situation, pools)] : []),
    ...(situation.queue.spec.beat ? [beatFinding(situation)] : []),
    ...(situation.queue.spec.beat?.scheduler === 'Declared' ? [schedulesFinding(situation)] : []),
    clockFinding(situation.queue, skew),
    suspendedFinding(situation, pools),
  ]
  return [readyFinding(situation, parts), ...parts]
}

/**
 * What a TaskQueue needs to be ready, what a person must put right before what may pass by itself. Clocks and backlog are told, and
 * cost no readiness.
 */
const needed: readonly Finding['type'][] = ['SchedulesOnTime', 'BrokerReachable', 'WorkersAvailable', 'BeatReady']

function readyFinding(situation: Situation, parts: readonly Finding[]): Finding {
  const refusals = situation.desired.templateProblems
  if (refusals.length > 0) {
    return {
      type: 'Ready',
      status: 'False',
      reason: 'PodTemplateRefused',
      message: `${refusals.join(' ')} What runs is left as it is.`,
    }
  }
  if (situation.refused.length > 0) {
    return { type: 'Ready', status: 'False', reason: 'ApplyRefused', message: situation.refused.join(' ') }
  }
  const first = (status: Finding['status']): Finding | undefined =>
    needed.flatMap((type) => parts.find((part) => part.type === type && part.status === status) ?? [])[0]
  const bad = first('False')
  if (bad) return { type: 'Ready', status: 'False', reason: bad.reason, message: bad.message }
  const unknown = first('Unknown')
  if (unknown) return { type: 'Ready', status: 'Unknown', reason: unknown.reason, message: unknown.message }
  return situation.queue.spec.suspend
    ? {
        type: 'Ready',
        status: 'True',
        reason: 'Suspended',
        message: 'Suspended as asked: set spec.suspend: false to go on.',
      }
    : { type: 'Ready', status: 'True', reason: 'AllPartsReady', message: 'Workers, beat and broker are ready.' }
}

function brokerFinding(broker: BrokerObservation | undefined): Finding {
  const type = 'BrokerReachable'
  if (!broker) return { type, status: 'Unknown', reason: 'NotYetAsked', message: 'The broker has not been asked yet.' }
  if (broker.reachable) return { type, status: 'True', reason: 'Reachable', message: 'The broker answers.' }
  return { type, status: 'False', reason: broker.reason, message: `${broker.message} Workers are left as they are.` }
}

function workersFinding(situation: Situation, pools: readonly PoolStatus[]): Finding {
  const type = 'WorkersAvailable'
  const short = pools.filter((pool) => pool.ready < pool.wanted)
  const stale = pools.filter((pool) => isRolling(situation.deployments.get(pool.deployment ?? '')))
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

function isRolling(deployment: LiveDeployment | undefined): boolean {
  if (!deployment) return false
  const { spec, status, metadata } = deployment
  return (
    (status?.observedGeneration ?? 0) < (metadata.generation ?? 0) ||
    (status?.updatedReplicas ?? 0) < (spec.replicas ?? 1) ||
    (status?.replicas ?? 0) > (status?.updatedReplicas ?? 0)
  )
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

function queuesFinding({ broker, queue }: Situation, pools: readonly PoolStatus[]): Finding {
  const type = 'QueuesServed'
  if (!broker?.reachable)
    return { type, status: 'Unknown', reason: 'BrokerUnreachable', message: 'The broker can not be asked for backlog.' }
  const served = new Set(pools.filter((pool) => pool.ready > 0).flatMap((pool) => pool.queues ?? []))
  const waiting = [...broker.queues].filter(([name, depth]) => depth.waiting > 0 && !served.has(name))
  if (waiting.length === 0)
    return { type, status: 'True', reason: 'Served', message: 'Every queue with a backlog has a ready worker.' }
  const list = waiting.map(([name, depth]) => `${name} (${depth.waiting})`).join(', ')
  if (queue.spec.suspend)
    return { type, status: 'True', reason: 'Suspended', message: `Waiting while suspended: ${list}.` }
  return {
    type,
    status: 'False',
    reason: 'NoConsumer',
    message: `No worker is ready for what waits in ${list}: see WorkersAvailable, or give a pool in spec.workers these queues.`,
  }
}

function schedulesFinding(situation: Situation): Finding {
  const type = 'SchedulesOnTime'
  const { desired } = situation
  if (desired.scheduleProblems.length > 0) {
    const message = `${desired.scheduleProblems.join(' ')} Until this is put right, beat keeps the last good schedules.`
    return { type, status: 'False', reason: 'ScheduleInvalid', message }
  }
  const said = beatDetail(situation)
  if (typeof said?.schedulesProblem === 'string') {
    const message = `Beat keeps its last good schedules: ${said.schedulesProblem}.`
    return { type, status: 'False', reason: 'BeatRefusedSchedules', message }
  }
  if (!said)
    return {
      type,
      status: 'True',
      reason: 'Valid',
      message: 'The schedules can be read; beat has not said that it loaded them.',
    }
  return loadedHash(situation) === schedulesHash(desired.schedules)
    ? { type, status: 'True', reason: 'Loaded', message: 'Beat has loaded the schedules.' }
    : { type, status: 'True', reason: 'Loading', message: 'Beat loads the changed schedules within seconds.' }
}

/** What the beat Pod says of itself in its presence; undefined while it says nothing. */
function beatDetail({ broker, beatPod }: Situation): Readonly<Record<string, unknown>> | undefined {
  if (!broker?.reachable || !beatPod) return undefined
  return broker.presence.find((entry) => entry.kind === 'beat' && entry.podUid === beatPod.metadata.uid)?.detail
}

/** The hash of the schedules that beat has loaded, as short as ours. */
function loadedHash(situation: Situation): string | undefined {
  const hash = beatDetail(situation)?.schedulesHash
  return typeof hash === 'string' && hash !== '' ? shortHash(hash) : undefined
}

function beatFinding(situation: Situation): Finding {
  const { queue, beatPod, desired, beatRefusal, beatHistory } = situation
  const type = 'BeatReady'
  const name = names.beatPod(queue)
  const unready = (reason: string, message: string): Finding => ({ type, status: 'False', reason, message })
  if (queue.spec.suspend) {
    return {
      type,
      status: 'True',
      reason: 'Suspended',
      message: 'Beat is stopped while the TaskQueue is suspended; its volume stays.',
    }
  }
  if (beatRefusal !== undefined) return unready('NameTaken', beatRefusal)
  if (!beatPod) {
    const wait = beatHistory.notBefore && beatHistory.notBefore > situation.now
    return wait
      ? unready(
          'BackOff',
          `Pod ${name} ended ${beatHistory.restarts} times in a row and is made anew at ${timestamp(beatHistory.notBefore ?? situation.now)}.`,
        )
      : unready('Creating', `Pod ${name} is being made.`)
  }
  if (beatPod.metadata.deletionTimestamp !== undefined) return terminating(situation, beatPod)
  if (isReady(beatPod)) {
    const waiting = desired.beatImageWaiting
    return waiting === undefined
      ? { type, status: 'True', reason: 'Running', message: `Pod ${name} is ready.` }
      : {
          type,
          status: 'True',
          reason: 'ImageNotProven',
          message: `Pod ${name} is ready on its old image; it takes ${waiting} once a worker pod ran Ready on it.`,
        }
  }
  const trouble = podTrouble(beatPod)
  return trouble ? unready(trouble.reason, trouble.message) : unready('Starting', `Pod ${name} is not ready yet.`)
}

function terminating(situation: Situation, pod: LivePod): Finding {
  const since = new Date(pod.metadata.deletionTimestamp ?? situation.now)
  const overdueMs = situation.now.getTime() - since.getTime()
  const name = pod.metadata.name
  if (overdueMs <= 15_000) {
    return {
      type: 'BeatReady',
      status: 'False',
      reason: 'Terminating',
      message: `The old Pod ${name} is ending; the new one follows.`,
    }
  }
  const node = pod.spec.nodeName ?? 'its node'
  return {
    type: 'BeatReady',
    status: 'False',
    reason: 'NodeUnreachable',
    message:
      `Pod ${name} should have been gone by ${timestamp(since)} and is not: ${node} may be unreachable. A second beat is never started beside it. ` +
      `If the node is really down, taint it with node.kubernetes.io/out-of-service=nodeshutdown:NoExecute and Kubernetes removes the Pod.`,
  }
}

/** The word in the BEAT column. */
function beatState({ queue, beatPod, beatRefusal }: Situation): string {
  if (!queue.spec.beat) return 'None'
  if (beatRefusal !== undefined) return 'NotReady'
  if (!beatPod) return queue.spec.suspend ? 'Suspended' : 'Pending'
  if (beatPod.metadata.deletionTimestamp !== undefined) return 'Terminating'
  if (isReady(beatPod)) return 'Ready'
  return beatPod.status?.phase === 'Pending' ? 'Pending' : 'NotReady'
}

function suspendedFinding({ queue, pods, beatPod }: Situation, pools: readonly PoolStatus[]): Finding {
  const type = 'Suspended'
  if (!queue.spec.suspend) return { type, status: 'False', reason: 'NotAsked', message: 'spec.suspend is false.' }
  const left = pods.length
  if (left > 0 || beatPod || pools.some((pool) => pool.ready > 0)) {
    return { type, status: 'False', reason: 'Draining', message: `${left} pods finish what they run.` }
  }
  return { type, status: 'True', reason: 'Drained', message: 'No pod runs. Set spec.suspend: false to go on.' }
}

export function isReady(pod: LivePod): boolean {
  return pod.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') === true
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, n) => total + n, 0)
}
