// How many pods a pool should have for its backlog. Pure: figures in, a number and its reason out. Up at once within a step
// limit; down only after the cooldown and only while nothing is in flight, so that no running task is ever stopped for it.

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
}

/** At most this many pods are added at once, or as many as there are, whichever is more. */
const STEP = 4

export function autoscale(
  spec: NonNullable<WorkerPool['autoscale']>,
  current: number,
  load: Load | undefined,
  millisSinceNeeded: number,
): ScaleDecision {
  const within = (n: number): number => Math.min(spec.maxReplicas, Math.max(spec.minReplicas, n))
  if (!load) return { replicas: current, why: 'the broker can not be asked: the number is held', needed: true }
  const total = load.waiting + load.inFlight
  const demand = within(Math.ceil(total / spec.backlogPerReplica))
  const figures = `${load.waiting} waiting and ${load.inFlight} in flight at ${spec.backlogPerReplica} a pod`
  if (demand > current) {
    const replicas = Math.min(demand, current + Math.max(STEP, current))
    return { replicas, why: `${figures} call for ${demand}`, needed: true }
  }
  if (demand === current) return { replicas: current, why: `${figures} call for ${demand}`, needed: true }
  const floor = within(current)
  if (floor < current) return { replicas: floor, why: `maxReplicas is ${spec.maxReplicas}`, needed: false }
  if (millisSinceNeeded < spec.cooldownSeconds * 1000) {
    return { replicas: current, why: `${figures} call for ${demand}, cooling down`, needed: false }
  }
  if (load.inFlight > 0) return { replicas: current, why: `${load.inFlight} tasks still run`, needed: false }
  return { replicas: demand, why: `${figures} call for ${demand}`, needed: false }
}
