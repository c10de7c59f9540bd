// What Celery's result backend stores for a task, and how a failure looks in it. Not the store (results/).
import { isJsonObject, type JsonObject } from './envelope.ts'
import { formatInstant } from './instant.ts'

/** Celery's task states that we write or read; a task may set others of its own, such as PROGRESS. */
export type TaskState = 'PENDING' | 'RECEIVED' | 'STARTED' | 'RETRY' | 'SUCCESS' | 'FAILURE' | 'REVOKED' | (string & {})

/** States after which a task doesn't change any more. */
export const FINAL_STATES: ReadonlySet<string> = new Set(['SUCCESS', 'FAILURE', 'REVOKED'])

/** A task's stored outcome. */
export interface TaskResult {
  readonly taskId: string
  readonly status: TaskState
  /** The value returned, or the description of the exception for FAILURE, RETRY and REVOKED. */
  readonly result: unknown
  readonly traceback: string | null
  /** Milliseconds since the epoch. */
  readonly doneAt: number
  readonly groupId?: string | undefined
  readonly parentId?: string | undefined
  /** Celery's result_extended: name, args, kwargs, worker, retries, queue. */
  readonly details?: JsonObject
}

/** The key, and the channel, of a task's result, without the global key prefix. */
export const resultKey = (taskId: string): string => `celery-task-meta-${taskId}`

/** Writes a result. `status` comes first: the script that guards SUCCESS reads no further. `children` follow it: see withChildren(). */
export function encodeResult(result: TaskResult): string {
  return JSON.stringify({
    status: result.status,
    children: [],
    result: result.result ?? null,
    traceback: result.traceback,
    date_done: formatInstant(result.doneAt),
    ...(result.groupId === undefined ? {} : { group_id: result.groupId }),
    ...(result.parentId === undefined ? {} : { parent_id: result.parentId }),
    task_id: result.taskId,
    ...result.details,
  })
}

const NO_CHILDREN = ',"children":[]'

/** A result that encodeResult() wrote, with the tasks that followed from it, as Celery's AsyncResult.children reads them. */
export function withChildren(json: string, taskIds: readonly string[]): string {
  const children = taskIds.map((id) => [[id, null], null])
  return json.replace(NO_CHILDREN, () => `,"children":${JSON.stringify(children)}`)
}

/** What a stored result says. */
export interface StoredResult {
  readonly status: TaskState
  readonly result: unknown
  readonly traceback: string | undefined
}

/** Reads a stored result, ours or Python's; undefined when it isn't one. */
export function decodeResult(json: string): StoredResult | undefined {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    return undefined
  }
  if (!isJsonObject(value) || typeof value['status'] !== 'string') return undefined
  const traceback = value['traceback']
  return {
    status: value['status'],
    result: value['result'],
    traceback: typeof traceback === 'string' ? traceback : undefined,
  }
}

/** Python's view of an exception: `AsyncResult.get()` raises an exception of this type name. */
export function describeFailure(type: string, message: string, module = 'taskqueue'): JsonObject {
  return { exc_type: type, exc_message: [message], exc_module: module }
}

/** The failure that a FAILURE, RETRY or REVOKED result describes, for a person. */
export function failureText(result: unknown): string {
  if (!isJsonObject(result)) return typeof result === 'string' ? result : JSON.stringify(result)
  const { exc_type: type, exc_message: message } = result
  const text = Array.isArray(message) ? message.map((part) => String(part)).join(', ') : String(message)
  return typeof type === 'string' ? `${type}: ${text}` : text
}
