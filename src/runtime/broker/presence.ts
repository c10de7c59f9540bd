// Where the pods of one TaskQueue say what they do: one hash, one field a pod.

/** What names a TaskQueue: set by the operator in every pod (TASKQUEUE_NAMESPACE and TASKQUEUE_NAME). */
export interface TaskQueueName {
  readonly namespace?: string | undefined
  readonly name?: string | undefined
}

/**
 * The presence hash of a TaskQueue, without the global key prefix: `taskqueue:presence:<namespace>/<name>`; outside of
 * Kubernetes the app's name takes their place.
 */
export function presenceKey(queue: TaskQueueName, appName = 'taskqueue'): string {
  const owner = queue.namespace && queue.name ? `${queue.namespace}/${queue.name}` : appName
  return `taskqueue:presence:${owner}`
}

/** Seconds after its last write that a presence hash is gone. */
export const PRESENCE_TTL_SECONDS = 120
/** How often a pod writes its field. */
export const PRESENCE_EVERY_MS = 5000
/** A worker that knows more tasks than this doesn't tell their names. */
export const MOST_TASKS_TOLD = 500
