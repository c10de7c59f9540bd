// What of a TaskQueue a patrol judges, as plain data: its own queues and schedules, and nobody else's. Pure; the rounds are in patrols.ts.

import type { Limits } from '@taskqueue/runtime/patrol'
import { defaultQueue, queuesOf, startedByBacklog } from '../desired/environment.ts'
import { checkSchedules } from '../desired/schedules.ts'
import type { Schedule, TaskQueue } from '../taskqueue.ts'

export interface PatrolTarget {
  readonly namespace: string
  readonly name: string
  readonly queues: readonly string[]
  readonly defaultQueue: string
  /** As beat has them, where it is ours to fire them; their arguments left out. */
  readonly schedules: readonly Partial<Schedule>[]
  readonly timeZone: string
  readonly limits: Omit<Limits, 'startSeconds'>
  /** Queues whose pods are made only once something waits. */
  readonly startedByBacklog: readonly string[]
  readonly suspended: boolean
}

/** So long a pod may take to consume: the startup probe's own limit. A backlog without a consumer is normal until then. Seconds. */
export const START_SECONDS = 300

export function patrolTarget(queue: TaskQueue): PatrolTarget {
  const { spec } = queue
  const { idleQueueSeconds, stalledSeconds } = spec.patrol
  const pools = spec.workers ?? []
  const schedules = spec.suspend ? [] : firedSchedules(queue)
  return {
    namespace: queue.metadata.namespace ?? '',
    name: queue.metadata.name,
    queues: [...new Set(pools.flatMap((pool) => queuesOf(queue, pool)))],
    defaultQueue: defaultQueue(queue),
    schedules,
    timeZone: spec.beat?.timeZone ?? 'UTC',
    limits: {
      idleQueueSeconds,
      stalledSeconds,
      visibilityTimeoutSeconds: spec.broker.visibilityTimeoutSeconds,
    },
    startedByBacklog: startedByBacklog(queue),
    suspended: spec.suspend,
  }
}

/** While one of them can't be read, beat keeps others, which nobody knows here: none is judged then. */
function firedSchedules({ spec: { beat, environment } }: TaskQueue): Partial<Schedule>[] {
  if (beat?.scheduler !== 'Declared') return []
  const { valid, problems } = checkSchedules(beat)
  if (problems.length > 0) return []
  return valid.map((schedule) => {
    const kept: Partial<Schedule> = { ...schedule }
    delete kept.args
    delete kept.kwargs
    // In a Test environment everything goes to the default queue.
    if (environment === 'Test') delete kept.queue
    return kept
  })
}
