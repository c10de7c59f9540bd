// How many pods a pool should have for its backlog. Pure: figures in, a number and its reason out. Up at once, a step at a time;
// down only after the cooldown and only while nothing is in flight, so that no running task is ever stopped for it.

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
  /** When the answer may be another although the figures stay: a step or the cooldown ends then. Milliseconds. */
  againMs?: number
}

/** At most this many pods are added in one step, or as many as there are, whichever is more: an HPA's own default. */
const STEP = 4
/** From one step up to the next, so that the pods of the first can show what they do. Milliseconds. */
export const STEP_MS = 15_000

export function autoscale(
  spec: NonNullable<WorkerPool['autoscale']>,
  current: number,
  load: Load | undefined,
  { millisSinceNeeded, millisSinceStep }: { millisSinceNeeded: number; millisSinceStep: number },
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
  // The end of a task changes the figures, which is looked at again without being asked for.
  if (load.inFlight > 0) return { replicas: current, why: `${load.inFlight} tasks still run`, needed: false }
  return { replicas: demand, why, needed: false }
}
