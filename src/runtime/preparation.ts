// Makes the message of one call: the task's options, the call's own, and what the task that calls hands down. Not sending it (app.ts).
import { createHash } from 'node:crypto'
import { expiry, ownHeaders, type SendOptions } from './call.ts'
import { currentTask } from './current-task.ts'
import { UsageError } from './errors.ts'
import type { Publication } from './broker/transport.ts'
import type { JsonObject } from './protocol/envelope.ts'
import { startTime } from './protocol/instant.ts'
import { encodeTask, UNIQUE_HEADER } from './protocol/task-message.ts'
import { uuid4 } from './protocol/uuid.ts'
import { checkPriority, type TaskOptions } from './task.ts'
import type { TraceHeaders } from './trace-headers.ts'
import type { SendSpan, Tracing } from './tracing.ts'

/** A message that is ready to be sent. */
export interface PreparedTask {
  readonly id: string
  readonly publication: Publication
  /** Whether there will be a result of it. */
  readonly stored: boolean
  /** To be ended by whoever sends it; undefined where nothing is traced. */
  readonly span: SendSpan | undefined
}

/** What one call says, and beat and unique tasks say of it. */
export interface CallOptions extends SendOptions {
  /** The slot, in milliseconds since the epoch. */
  readonly scheduledFor?: number
  /** What it holds until it has ended. */
  readonly unique?: string
}

/** Where a call comes from. */
export interface Caller {
  /** The options of the task, where this app has it. */
  readonly task: TaskOptions | undefined
  readonly route: (queue: string | undefined) => string
  /** Milliseconds since the epoch. */
  readonly now: number
  readonly tracing: Tracing | undefined
  readonly maxPayloadBytes: number
}

/** @throws UsageError for options that contradict themselves or a payload over the limit */
export function prepareTask(
  name: string,
  args: readonly unknown[],
  options: CallOptions,
  { task, route, now, tracing, maxPayloadBytes }: Caller,
): PreparedTask {
  const id = options.id ?? uuid4()
  const queue = route(options.queue ?? task?.queue)
  const { priority, ignoreResult } = settled(options, task)
  if (!Array.isArray(args)) throw new UsageError('OptionInvalid', `the arguments of ${name} must be a list`)
  const scheduled = options.scheduledFor !== undefined
  const span = tracing?.send({ id, task: name, queue, retries: 0, scheduled })
  try {
    const { raw, bodyBytes } = encodeTask({
      ...{ id, task: name, args, queue, priority, ignoreResult },
      ...(options.kwargs ? { kwargs: { ...options.kwargs } } : {}),
      eta: startTime(options, now),
      expires: expiry(options.expires, now),
      scheduledFor: options.scheduledFor,
      ...descent(options, span?.headers),
    })
    checkSize(name, bodyBytes, maxPayloadBytes)
    return { id, publication: { queue, priority, raw }, stored: !ignoreResult, span }
  } catch (error) {
    span?.end(error)
    throw error
  }
}

/** @throws UsageError `OptionInvalid` */
function settled(
  options: CallOptions,
  task: TaskOptions | undefined,
): { readonly priority: number; readonly ignoreResult: boolean } {
  const priority = options.priority ?? task?.priority ?? 0
  checkPriority(priority)
  return { priority, ignoreResult: options.ignoreResult ?? task?.ignoreResult ?? false }
}

/**
 * What a message says of where it comes from. A trace that the caller names is carried on rather than that of the task that calls; a span
 * that is made of the sending goes before both.
 */
function descent(
  { headers, unique }: CallOptions,
  made: TraceHeaders | undefined,
): { readonly rootId?: string; readonly parentId?: string; readonly headers: JsonObject } {
  const parent = currentTask()
  const own = headers ? ownHeaders(headers) : {}
  return {
    ...(parent ? { rootId: parent.rootId, parentId: parent.id } : {}),
    headers: {
      ...(own['traceparent'] === undefined ? parent?.trace : {}),
      ...own,
      ...made,
      ...(unique === undefined ? {} : { [UNIQUE_HEADER]: unique }),
    },
  }
}

/** @throws UsageError `PayloadTooLarge` */
export function checkSize(name: string, bodyBytes: number, limit: number): void {
  if (bodyBytes <= limit) return
  const text = `the arguments of ${name} take ${bodyBytes} bytes, the limit is ${limit} (TASKQUEUE_MAX_PAYLOAD_BYTES)`
  throw new UsageError('PayloadTooLarge', `${text}: store the object and pass its id`)
}

/** What a unique call holds; undefined for a task that isn't unique. */
export function holdOf(
  name: string,
  unique: TaskOptions['unique'],
  args: readonly unknown[],
  { kwargs }: SendOptions,
): { readonly name: string; readonly seconds: number } | undefined {
  if (!unique) return undefined
  const key = unique.key ? unique.key(...(args as never[])) : JSON.stringify([args, kwargs ?? {}])
  return { name: `${name}:${createHash('sha256').update(key).digest('hex').slice(0, 32)}`, seconds: unique.seconds }
}
