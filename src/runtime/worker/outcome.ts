// Turns the end of an execution into an outcome for the broker: what is stored, what is published. Pure.
import type { DeadLetter, Delivery, Outcome, ResultWrite } from '../broker/transport.ts'
import { asError, type MessageError } from '../errors.ts'
import { traceback } from '../log.ts'
import { isJsonObject, type JsonObject } from '../protocol/envelope.ts'
import { describeFailure, encodeResult, type TaskState } from '../protocol/result.ts'
import { encodeRetry, encodeRevival, UNIQUE_HEADER, type TaskMessage } from '../protocol/task-message.ts'
import { uuid4 } from '../protocol/uuid.ts'
import type { TraceHeaders } from '../trace-headers.ts'

/** What outcomes carry besides the task's own data. */
export interface OutcomeContext {
  /** `celery@<hostname>` */
  readonly worker: string
  readonly resultTtlSeconds: number
  /** Results tell more of the task; see the setting. */
  readonly resultExtended: boolean
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** A result to store. @throws TypeError when the value can't be written as JSON */
export function resultWrite(
  message: TaskMessage,
  status: TaskState,
  value: unknown,
  stack: string | null,
  context: OutcomeContext,
): ResultWrite {
  const json = encodeResult({
    taskId: message.id,
    status,
    result: value,
    traceback: stack,
    doneAt: context.now,
    groupId: message.groupId,
    parentId: message.parentId,
    ...(context.resultExtended ? { details: detailsOf(message, context.worker) } : {}),
  })
  return { taskId: message.id, json, ttlSeconds: context.resultTtlSeconds }
}

function detailsOf({ task, args, kwargs, retries, routingKey }: TaskMessage, worker: string): JsonObject {
  return { name: task, args, kwargs, worker, retries, queue: routingKey ?? null }
}

/** What the end of a unique task sets free. */
export function releaseOf({ id, headers }: TaskMessage): Pick<Outcome, 'release'> {
  const name = headers[UNIQUE_HEADER]
  return typeof name === 'string' ? { release: { name, id } } : {}
}

/** The outcome of a task that has ended for good: it holds no name any more. */
export function withRelease(outcome: Outcome, message: TaskMessage): Outcome {
  const { release } = releaseOf(message)
  return release ? { ...outcome, release } : outcome
}

/** The result of a task that was called off, or whose time was over; none where nobody wants it. */
export function revokedWrite(message: TaskMessage, why: string, context: OutcomeContext): ResultWrite | undefined {
  if (message.ignoreResult) return undefined
  return resultWrite(message, 'REVOKED', revokedFailure(why), null, context)
}

/** @param why `expired`, `revoked` or `terminated`, as Celery says it */
export function revokedFailure(why: string): JsonObject {
  return describeFailure('TaskRevokedError', why, 'celery.exceptions')
}

/** The result of an attempt that failed. */
export function failureWrite(
  message: TaskMessage,
  status: TaskState,
  thrown: unknown,
  context: OutcomeContext,
): ResultWrite {
  const error = asError(thrown)
  return resultWrite(message, status, describeFailure(error.name, error.message), traceback(error), context)
}

/** A letter for a task that will not run again. */
export function deadTask(
  message: TaskMessage,
  queue: string,
  reason: string,
  thrown: unknown,
  context: OutcomeContext,
): DeadLetter {
  const error = asError(thrown)
  return {
    id: message.id,
    task: message.task,
    queue,
    reason,
    error: `${error.name}: ${error.message}`,
    traceback: traceback(error),
    attempts: message.retries + 1,
    diedAt: context.now,
    worker: context.worker,
  }
}

/** A letter for a message that can't be understood, with whatever of it can be. */
export function deadMessage(delivery: Delivery, error: MessageError, context: OutcomeContext): DeadLetter {
  const headers =
    'headers' in delivery.message && isJsonObject(delivery.message.headers) ? delivery.message.headers : {}
  const short = (value: unknown): string | null =>
    typeof value === 'string' && value !== '' && value.length <= 512 ? value : null
  return {
    id: short(headers['id']) ?? uuid4(),
    task: short(headers['task']),
    queue: delivery.queue,
    reason: error.code,
    error: error.message,
    traceback: null,
    attempts: 0,
    diedAt: context.now,
    worker: context.worker,
  }
}

/**
 * The message of another attempt: parked until due, or published when it is due at once.
 * @param trace what its headers say of its trace instead of what they said before
 */
export function retryPublication(
  message: TaskMessage,
  queue: string,
  { dueAt, now }: { readonly dueAt: number; readonly now: number },
  trace: TraceHeaders = {},
): (Outcome & { kind: 'retry' })['publish'] {
  const later = dueAt > now
  const { raw } = encodeRetry(message, queue, later ? dueAt : undefined, trace)
  const publication = { queue, priority: message.priority, raw }
  return later ? { ...publication, dueAt } : publication
}

/** The message of a task that was acknowledged early, for its letter; empty when its arguments can't be written again. */
export function revivalOf(message: TaskMessage, queue: string): string {
  try {
    return encodeRevival(message, queue).raw
  } catch {
    return ''
  }
}
