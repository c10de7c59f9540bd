// How many pods a pool should have for its backlog. Pure: figures in, a number and its reason out. Up at once, a step at a time;
// down only after the cooldown and only by pods that have drained, so that no running task is ever stopped for it.

import type { WorkerPool } from './taskqueue.ts'

export interface Load {
  /** Messages in the pool's queues, all priorities. */
  waiting: number
  /** Messages taken and not yet settled. */
  inFlight: number
}

export interface ScaleDecision {
  replicas: number
  /** For an Event: why, from what figures. */
  why: string
  /** Whether the load still calls for at least as many pods as there are: the cooldown starts when it last did. */
  needed: boolean
  /** Pods that are to drain before the pool can shrink. */
  excess?: number
  /** When the answer may be another although the figures stay: a step or the cooldown ends then. Milliseconds. */
  againMs?: number
}

/** What the figures of the moment don't tell. */
export interface ScaleHistory {
  millisSinceNeeded: number
  millisSinceStep: number
  /** Pods that take nothing any more and have nothing left to do, or are not there at all. */
  drained: number
}

/** At most this many pods are added in one step, or as many as there are, whichever is more: an HPA's own default. */
const STEP = 4
/** From one step up to the next, so that the pods of the first can show what they do. Milliseconds. */
export const STEP_MS = 15_000

export function autoscale(
  spec: NonNullable<WorkerPool['autoscale']>,
  current: number,
  load: Load | undefined,
  { millisSinceNeeded, millisSinceStep, drained }: ScaleHistory,
): ScaleDecision {
  const within = (n: number): number => Math.min(spec.maxReplicas, Math.max(spec.minReplicas, n))
  if (!load) return { replicas: current, why: 'the broker can not be asked: the number is held', needed: true }
  const total = load.waiting + load.inFlight
  const demand = within(Math.ceil(total / spec.backlogPerReplica))
  const figures = `${load.waiting} waiting and ${load.inFlight} in flight at ${spec.backlogPerReplica} a pod`
  const why = `${figures} call for ${demand}`
  if (demand > current) {
    const wait = STEP_MS - millisSinceStep
    if (wait > 0 && current >= spec.minReplicas)
      return { replicas: current, why: `${why}, a step at a time`, needed: true, againMs: wait }
    const replicas = Math.min(demand, Math.max(spec.minReplicas, current + Math.max(STEP, current)))
    return { replicas, why, needed: true, ...(replicas < demand ? { againMs: STEP_MS } : {}) }
  }
  if (demand === current) return { replicas: current, why, needed: true }
  if (current > spec.maxReplicas)
    return { replicas: spec.maxReplicas, why: `maxReplicas is ${spec.maxReplicas}`, needed: false }
  const cooling = spec.cooldownSeconds * 1000 - millisSinceNeeded
  if (cooling > 0) return { replicas: current, why: `${why}, cooling down`, needed: false, againMs: cooling }
  // What pods say of themselves changes as they drain, which is looked at again without being asked for.
  const excess = current - demand
  const gone = Math.min(excess, drained)
  if (gone === 0) return { replicas: current, why: `${why}, ${excess} drain first`, needed: false, excess }
  return { replicas: current - gone, why, needed: false, excess }
}
