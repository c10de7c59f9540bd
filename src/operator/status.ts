// From a TaskQueue and everything observed to its status: conditions with a message that tells a person what to do, and the
// figures behind the printer columns. Pure. Unknown is a value of its own: nothing is concluded from what could not be asked.

import { beatFinding, beatImage, beatTimes, beatState, loadedHash, schedulesFinding } from './beatstatus.ts'
import { clockFinding, clockStatus } from './clockfinding.ts'
import { conditionsFrom, sentences, type Finding } from './conditions.ts'
import { names } from './desired/names.ts'
import { messageOf, OperatorError } from './errors.ts'
import type { BrokerObservation } from './inspect/observation.ts'
import { timestamp } from './objects.ts'
import type { Situation } from './situation.ts'
import { isPatrolReason, patrolStatus } from './patrolfinding.ts'
import { skewOf, type Skew } from './skew.ts'
import type { TaskQueue, TaskQueueStatus } from './taskqueue.ts'
import { withRemarks } from './workerremarks.ts'
import { figures, poolStatus, queuesFinding, workersFinding, type PoolStatus } from './workerstatus.ts'

/** The status to write and the findings that its conditions are made of. */
export function statusOf(situation: Situation): { status: TaskQueueStatus; findings: Finding[] } {
  const { queue, broker } = situation
  const pools = (queue.spec.workers ?? []).map((pool) => poolStatus(pool, situation))
  const skew = skewOf(broker, situation.pods)
  const findings = findingsOf(situation, pools, skew)
  const generation = queue.metadata.generation ?? 0
  const [hash, image] = [loadedHash(situation), beatImage(situation)]
  const status: TaskQueueStatus = {
    observedGeneration: generation,
    ...figures(situation, pools),
    pools,
    beat: {
      state: beatState(situation),
      ...(queue.spec.beat ? { pod: names.beatPod(queue) } : {}),
      ...(image === undefined ? {} : { image }),
      ...historyStatus(situation),
      ...(queue.spec.beat ? beatTimes(situation) : {}),
      ...(hash === undefined ? {} : { schedulesHash: hash }),
    },
    clock: clockStatus(skew),
    ...patrolStatus(situation),
    conditions: conditionsFrom(findings, queue.status?.conditions ?? [], generation, situation.now),
  }
  return { status, findings }
}

/** The back-off of beat, as it is kept in status. */
export function historyStatus({ beatHistory }: Pick<Situation, 'beatHistory'>): TaskQueueStatus['beat'] {
  const { restarts, notBefore, lastCreated } = beatHistory
  return {
    ...(restarts > 0 ? { restarts } : {}),
    ...(notBefore ? { notBefore: timestamp(notBefore) } : {}),
    ...(lastCreated ? { lastCreated: timestamp(lastCreated) } : {}),
  }
}

function findingsOf(situation: Situation, pools: readonly PoolStatus[], skew: Skew): Finding[] {
  const parts: Finding[] = [
    brokerFinding(situation.broker),
    ...(pools.length > 0
      ? [withRemarks(workersFinding(situation, pools), situation, skew), queuesFinding(situation, pools)]
      : []),
    ...(situation.queue.spec.beat ? [beatFinding(situation)] : []),
    ...(situation.queue.spec.beat?.scheduler === 'Declared' ? [schedulesFinding(situation)] : []),
    clockFinding(situation.queue, skew, situation.disciplineAllowed),
    suspendedFinding(situation, pools),
  ]
  return [readyFinding(situation, parts), ...parts]
}

/**
 * What a TaskQueue needs to be ready, what a person must put right before what may pass by itself. Clocks and backlog are told, and
 * cost no readiness.
 */
const needed: readonly Finding['type'][] = ['SchedulesOnTime', 'BrokerReachable', 'WorkersAvailable', 'BeatReady']

/**
 * The parts that Ready rests on, in their order. What patrol saw of schedules comes last: it follows from a beat or a broker that is not
 * there, whose own reason says more. A task that was sent and waits is backlog.
 */
function needs(parts: readonly Finding[]): Finding[] {
  const found = needed.flatMap((name) => parts.find(({ type }) => type === name) ?? [])
  return found
    .filter(({ reason }) => reason !== 'ScheduleNotRun')
    .toSorted((a, b) => Number(isPatrolReason(a.reason)) - Number(isPatrolReason(b.reason)))
}

function readyFinding(situation: Situation, parts: readonly Finding[]): Finding {
  const type = 'Ready'
  const { desired, refused, beatRefusal, queue, rolling } = situation
  const bad = (reason: string, message: string): Finding => ({ type, status: 'False', reason, message })
  const left = queue.spec.suspend ? '' : ' What runs is left as it is.'
  if (desired.templateProblems.length > 0)
    return bad('PodTemplateRefused', `${sentences(desired.templateProblems)}${left}`)
  const refusals = [...refused, ...(beatRefusal ? [beatRefusal.message] : [])]
  if (refusals.length > 0)
    return bad(refused.length > 0 || !beatRefusal ? 'ApplyRefused' : beatRefusal.reason, sentences(refusals))
  const first = (status: Finding['status']): Finding | undefined => needs(parts).find((part) => part.status === status)
  const failing = first('False')
  if (failing) return bad(failing.reason, failing.message)
  const unknown = first('Unknown')
  if (unknown) return { type, status: 'Unknown', reason: unknown.reason, message: unknown.message }
  if (queue.spec.suspend) {
    const suspended = parts.find((part) => part.type === 'Suspended')
    return suspended?.status === 'True'
      ? { type, status: 'True', reason: 'Suspended', message: 'Suspended as asked: set spec.suspend: false to go on.' }
      : bad('Draining', suspended?.message ?? '')
  }
  // The old pods serve, so no part is missing; but what was asked for is not there yet.
  if (rolling.size > 0) return bad('Rolling', 'New pods are replacing old ones.')
  return { type, status: 'True', reason: 'AllPartsReady', message: 'Workers, beat and broker are ready.' }
}

/** The status of a TaskQueue that could not be reconciled: as it was, but for Ready, which says why. */
export function failedStatus(queue: TaskQueue, error: unknown, now: Date): TaskQueueStatus {
  const before = queue.status?.conditions ?? []
  const finding: Finding = {
    type: 'Ready',
    status: 'False',
    reason: 'ReconcileFailed',
    message: `This TaskQueue could not be reconciled and is tried again: ${steadyMessage(error)}`,
  }
  const ready = conditionsFrom([finding], before, queue.metadata.generation ?? 0, now)
  return { ...queue.status, conditions: [...ready, ...before.filter((condition) => condition.type !== 'Ready')] }
}

function brokerFinding(broker: BrokerObservation | undefined): Finding {
  const type = 'BrokerReachable'
  if (!broker) return { type, status: 'Unknown', reason: 'NotYetAsked', message: 'The broker has not been asked yet.' }
  if (broker.reachable) return { type, status: 'True', reason: 'Reachable', message: 'The broker answers.' }
  return { type, status: 'False', reason: broker.reason, message: `${broker.message} Workers are left as they are.` }
}

function suspendedFinding({ queue, pods, beatPod }: Situation, pools: readonly PoolStatus[]): Finding {
  const type = 'Suspended'
  if (!queue.spec.suspend) return { type, status: 'False', reason: 'NotAsked', message: 'spec.suspend is false.' }
  const left = new Set([...pods, ...(beatPod ? [beatPod] : [])].map((pod) => pod.metadata.uid)).size
  if (left > 0 || pools.some((pool) => pool.ready > 0)) {
    return { type, status: 'False', reason: 'Draining', message: `${left} pods finish what they run.` }
  }
  return { type, status: 'True', reason: 'Drained', message: 'No pod runs. Set spec.suspend: false to go on.' }
}

/** The same failure in the same words: a port of a connection in them would make each attempt another status, and a write. */
function steadyMessage(error: unknown): string {
  return error instanceof OperatorError && error.code === 'ApiUnreachable'
    ? 'the API server does not answer.'
    : messageOf(error)
}
