// Schedules that send a task which no worker of ours knows: it would be refused by every worker, slot after slot. Pure. Nothing is
// claimed about queues that others serve, workers that have not said what they know, or pools that are being replaced.

import { defaultQueue, queuesOf } from './desired/environment.ts'
import { labelKeys, names } from './desired/names.ts'
import type { Situation } from './situation.ts'
import type { Schedule, WorkerPool } from './taskqueue.ts'

/** One sentence for each such schedule. */
export function unknownTasks(situation: Situation): string[] {
  const { queue } = situation
  const schedules = queue.spec.beat?.schedules ?? []
  return schedules.flatMap((schedule) => {
    // Celery's own, which every worker has and none tells.
    if (schedule.task.startsWith('celery.')) return []
    const target = targetQueue(situation, schedule)
    const pools = (queue.spec.workers ?? []).filter((pool) => queuesOf(queue, pool).includes(target))
    const known = pools.map((pool) => tasksOf(pool, situation))
    if (known.length === 0 || known.some((tasks) => tasks === undefined || tasks.has(schedule.task))) return []
    const pool = pools.map(({ name }) => name).join(', ')
    return [
      `Schedule ${schedule.name} sends ${schedule.task} into queue ${target}, and no worker of pool ${pool} knows such a task: correct its name, or deploy an image that has it.`,
    ]
  })
}

/** Where beat sends it: in a Test environment everything goes to the default queue. */
function targetQueue({ queue }: Situation, schedule: Schedule): string {
  const own = queue.spec.environment === 'Test' ? undefined : schedule.queue
  return own ?? defaultQueue(queue)
}

/** What the workers of a pool know, together; undefined while that can't be told. */
function tasksOf(pool: WorkerPool, { queue, broker, pods, rolling }: Situation): ReadonlySet<string> | undefined {
  if (!broker?.reachable || rolling.has(names.deployment(queue, pool))) return undefined
  const ours = new Set(
    pods.filter(({ metadata }) => metadata.labels?.[labelKeys.pool] === pool.name).map(({ metadata }) => metadata.uid),
  )
  const told = broker.presence.flatMap(({ podUid, detail }) =>
    ours.has(podUid) && Array.isArray(detail.tasks) ? [detail.tasks as unknown[]] : [],
  )
  return told.length === 0 ? undefined : new Set(told.flat().map(String))
}
