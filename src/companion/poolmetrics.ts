// What /metrics says of the Celery worker's pool. Not the judgement: that is celerypool.ts.

import type { PoolWatch } from './poolwatch.ts'

/** Lines of Prometheus' text format; none while nothing is known. */
export function poolMetrics(pool: Pick<PoolWatch, 'verdict'> | undefined): string {
  if (!pool?.verdict) return ''
  return `${[
    '# HELP taskqueue_celery_stuck_tasks Tasks of the Celery worker that run for longer than maxTaskSeconds.',
    '# TYPE taskqueue_celery_stuck_tasks gauge',
    `taskqueue_celery_stuck_tasks ${pool.verdict.stuck.length}`,
    '# HELP taskqueue_celery_pool_stuck 1 while nothing of its pool goes on any more.',
    '# TYPE taskqueue_celery_pool_stuck gauge',
    `taskqueue_celery_pool_stuck ${pool.verdict.dead === undefined ? 0 : 1}`,
  ].join('\n')}\n`
}
