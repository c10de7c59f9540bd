// Which pods of a pool go when it shrinks, and which of them may go now. Pure. A pod drains first: it takes nothing any
// more and ends what it has; what it says of itself in the broker tells when that is done.

import type { PodPresence } from './inspect/observation.ts'
import { annotationKeys } from './desired/names.ts'
import { WORKER } from './desired/worker.ts'
import type { LiveDeployment, LivePod } from './objects.ts'
import { isReady } from './podtrouble.ts'

/** A ReplicaSet removes pods of a lower cost first; those without the annotation have 0 (Kubernetes' convention). */
export const DRAINED_COST = '-100'

/**
 * From a mark to the lower number that it is for. The controller that chooses by the mark hears of pods and of numbers by two watches,
 * in no order: a number that came first would cost another pod, which may work.
 */
export const MARK_SETTLES_MS = 2000

export interface DrainPlan {
  /** To take nothing any more. */
  readonly draining: readonly LivePod[]
  /** Those of them that have nothing left to do: the pool can do without them at once. */
  readonly drained: readonly LivePod[]
}

/**
 * Plans.
 * @param pods the pool's own
 * @param presence what these pods say of themselves
 * @param excess pods that the pool doesn't need
 * @param resting nothing is in flight in its queues: a pod that says nothing of itself may go then, and only then
 */
export function drainPlan(
  pods: readonly LivePod[],
  presence: readonly PodPresence[],
  excess: number,
  resting: boolean,
): DrainPlan {
  if (excess <= 0) return { draining: [], drained: [] }
  const said = Map.groupBy(presence, ({ podUid }) => podUid)
  const entriesOf = (pod: LivePod): readonly PodPresence[] => said.get(pod.metadata.uid ?? '') ?? []
  const rank = (pod: LivePod): number => {
    if (!isReady(pod)) return 0
    const entries = entriesOf(pod)
    const told = entries.some(isDraining)
    // A Celery worker's own load is known only while it drains.
    const idle = entries.some((entry) => (entry.kind === 'worker' || isDraining(entry)) && entry.busySlots === 0)
    return idle ? (told ? 1 : 2) : told ? 3 : 4
  }
  const draining = pods.toSorted((a, b) => rank(a) - rank(b) || ageOf(b) - ageOf(a)).slice(0, excess)
  const drained = draining.filter((pod) => {
    const entries = entriesOf(pod)
    return isPending(pod) || hasDrained(entries) || (resting && entries.length === 0)
  })
  // A ReplicaSet takes pods that aren't ready before all others, whatever they cost: while one of them may still work, no other can go.
  const first = pods.filter((pod) => !isReady(pod))
  const unsafe = first.some((pod) => !drained.includes(pod))
  return { draining, drained: unsafe ? drained.filter((pod) => first.includes(pod)) : drained }
}

/** Marked to go: it is kept from work until its ReplicaSet has removed it. */
export function isMarked(pod: LivePod): boolean {
  return pod.metadata.annotations?.[annotationKeys.deletionCost] === DRAINED_COST
}

/** Whether its controller has still to remove pods of it. */
export function isShrinking({ metadata, spec, status }: LiveDeployment): boolean {
  const seen = (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0)
  return !seen || (status?.replicas ?? 0) > (spec.replicas ?? 1)
}

function isDraining({ detail }: PodPresence): boolean {
  return detail.draining === true
}

/** Every container that says so has nothing in hand. */
function hasDrained(entries: readonly PodPresence[]): boolean {
  const draining = entries.filter(isDraining)
  return draining.length > 0 && draining.every(({ busySlots }) => busySlots === 0)
}

/** Its worker doesn't run: it has not begun, or crashed and waits to begin again. */
function isPending({ status }: LivePod): boolean {
  const worker = status?.containerStatuses?.find(({ name }) => name === WORKER)
  return worker ? worker.state?.running === undefined : status?.phase === 'Pending'
}

function ageOf({ metadata }: LivePod): number {
  return Date.parse(metadata.creationTimestamp ?? '') || 0
}
