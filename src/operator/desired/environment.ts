// The environment variables by which pods learn of the TaskQueue. Order is part of the template: never sort or reorder.

import type { V1EnvVar } from '@kubernetes/client-node'
import type { TaskQueue, WorkerPool } from '../taskqueue.ts'

interface UrlSource {
  url?: string
  urlFrom?: { secretKeyRef: { name: string; key: string } }
}

/** The queue of a task that names none: Celery's own default for its workers, `default` for Node's. */
export function defaultQueue(queue: TaskQueue): string {
  return queue.spec.taskDefaults?.queue ?? (queue.spec.engine === 'Celery' ? 'celery' : 'default')
}

/** The queues that a pool takes from. */
export function queuesOf(queue: TaskQueue, pool: WorkerPool): string[] {
  return pool.queues ?? [defaultQueue(queue)]
}

/** The queues of which every pool may have no pod while nothing waits. */
export function startedByBacklog(queue: TaskQueue): string[] {
  const pools = queue.spec.workers ?? []
  const lasting = new Set(
    pools.filter(({ autoscale }) => autoscale?.minReplicas !== 0).flatMap((pool) => queuesOf(queue, pool)),
  )
  return [...new Set(pools.flatMap((pool) => queuesOf(queue, pool)))].filter((name) => !lasting.has(name))
}

/** Where the broker is and whose pod this is: for every container of ours. */
export function identityEnvironment(queue: TaskQueue): V1EnvVar[] {
  return [
    urlVariable('TASKQUEUE_BROKER_URL', queue.spec.broker),
    { name: 'TASKQUEUE_NAMESPACE', valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } } },
    { name: 'TASKQUEUE_NAME', value: queue.metadata.name },
    { name: 'TASKQUEUE_POD_UID', valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.uid' } } },
  ]
}

/** What the app's own code needs in order to publish and to store results: for workers and for a beat that runs the app. */
export function appEnvironment(queue: TaskQueue): V1EnvVar[] {
  const { spec } = queue
  const ownResults = spec.results.url !== undefined || spec.results.urlFrom !== undefined
  const variables = [
    ...identityEnvironment(queue),
    ...(ownResults ? [urlVariable('TASKQUEUE_RESULT_URL', spec.results)] : []),
    { name: 'TASKQUEUE_RESULT_TTL_SECONDS', value: String(spec.results.ttlSeconds) },
    { name: 'TASKQUEUE_VISIBILITY_TIMEOUT', value: String(spec.broker.visibilityTimeoutSeconds) },
    { name: 'TASKQUEUE_APP', value: spec.app ?? '' },
    { name: 'TASKQUEUE_DEFAULT_QUEUE', value: defaultQueue(queue) },
    { name: 'TASKQUEUE_ENVIRONMENT', value: spec.environment },
  ]
  if (spec.engine === 'Celery') {
    // Celery reads these two by itself when the app's configuration sets neither.
    variables.push(urlVariable('CELERY_BROKER_URL', spec.broker))
    variables.push(urlVariable('CELERY_RESULT_BACKEND', ownResults ? spec.results : spec.broker))
  }
  const defaults = spec.taskDefaults
  if (defaults) {
    variables.push(
      { name: 'TASKQUEUE_ACKS_LATE', value: String(defaults.acksLate) },
      { name: 'TASKQUEUE_MAX_RETRIES', value: String(defaults.maxRetries) },
      { name: 'TASKQUEUE_RETRY_BACKOFF_SECONDS', value: String(defaults.retryBackoffSeconds) },
      { name: 'TASKQUEUE_MAX_PAYLOAD_BYTES', value: String(defaults.maxPayloadBytes) },
    )
  }
  return variables
}

function urlVariable(name: string, source: UrlSource): V1EnvVar {
  if (source.urlFrom) {
    const { name: secret, key } = source.urlFrom.secretKeyRef
    return { name, valueFrom: { secretKeyRef: { name: secret, key } } }
  }
  return { name, value: source.url ?? '' }
}
