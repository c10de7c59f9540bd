// Schedules that send a task which no worker of ours knows: it would be refused by every worker, slot after slot. Pure. Nothing is
// claimed about queues that others serve, workers that have not said what they know, or pools that are being replaced.

import { defaultQueue, queuesOf } from './desired/environment.ts'
import { names } from './desired/names.ts'
import { poolPresence } from './poolpresence.ts'
import type { Situation } from './situation.ts'
import type { Schedule, WorkerPool } from './taskqueue.ts'

/** One sentence for each such schedule. */
export function unknownTasks(situation: Situation): string[] {
  const { queue } = situation
  const schedules = queue.spec.beat?.schedules ?? []
  const workers = (queue.spec.workers ?? []).map((pool) => ({
    name: pool.name,
    queues: queuesOf(queue, pool),
    tasks: tasksOf(pool, situation),
  }))
  return schedules.flatMap((schedule) => {
    // Celery's own, which every worker has and none tells.
    if (schedule.task.startsWith('celery.')) return []
    const target = targetQueue(situation, schedule)
    const pools = workers.filter(({ queues }) => queues.includes(target))
    if (pools.length === 0 || pools.some(({ tasks }) => tasks === undefined || tasks.has(schedule.task))) return []
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
function tasksOf(pool: WorkerPool, situation: Situation): ReadonlySet<string> | undefined {
  if (situation.rolling.has(names.deployment(situation.queue, pool))) return undefined
  const told = poolPresence(pool, situation).flatMap(({ detail }) =>
    Array.isArray(detail.tasks) ? [detail.tasks as unknown[]] : [],
  )
  return told.length === 0 ? undefined : new Set(told.flat().map(String))
}
