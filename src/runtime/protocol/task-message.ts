// Celery's task message, protocol 2: what to run, with which arguments, when. Pure: no clock, no broker. A body or a
// header that isn't what the protocol says throws a MessageError, so the caller can put the message aside.
import { hostname } from 'node:os'
import { MessageError, UsageError } from '../errors.ts'
import { decodeJsonBody, encodeEnvelopeBytes, isJsonObject, type Envelope, type JsonObject } from './envelope.ts'
import { formatInstant, parseInstant } from './instant.ts'
import { pythonRepr, pythonTuple } from './python-repr.ts'

/** The third element of a body: what to do before, after and around the task. */
export interface Embed {
  readonly callbacks: unknown
  readonly errbacks: unknown
  readonly chain: unknown
  readonly chord: unknown
}

/** A task to run. Instants are milliseconds since the epoch. */
export interface TaskMessage {
  readonly id: string
  readonly task: string
  readonly args: readonly unknown[]
  readonly kwargs: JsonObject
  readonly embed: Embed
  readonly retries: number
  readonly eta: number | undefined
  readonly expires: number | undefined
  readonly ignoreResult: boolean
  readonly rootId: string | undefined
  readonly parentId: string | undefined
  readonly groupId: string | undefined
  /** The task's place in its group. */
  readonly groupIndex: number | undefined
  /** Seconds that the sender gives an attempt. */
  readonly softTimeLimitSeconds: number | undefined
  readonly hardTimeLimitSeconds: number | undefined
  /** The slot of the schedule that sent it. */
  readonly scheduledFor: number | undefined
  readonly priority: number
  /** The queue that it was sent to. */
  readonly routingKey: string | undefined
  readonly replyTo: string | undefined
  /** All headers as they came, so that a retry keeps those that we don't know. */
  readonly headers: JsonObject
}

/** A header of ours: names what a unique task holds until it has ended. */
export const UNIQUE_HEADER = 'taskqueue_unique'

const NO_EMBED: Embed = { callbacks: null, errbacks: null, chain: null, chord: null }

/** Identifiers and names above this length are refused: they become keys, label values and log fields. */
const MAX_NAME = 512

/**
 * Reads the task out of an envelope.
 * @throws MessageError with the reason
 */
export function decodeTask(envelope: Envelope): TaskMessage {
  const { headers, properties } = envelope
  const id = nameHeader(headers, 'id')
  const task = nameHeader(headers, 'task')
  const body = decodeJsonBody(envelope)
  if (!Array.isArray(body) || body.length < 2) {
    throw new MessageError('BodyInvalid', 'the body is not [args, kwargs, embed]: the message is not of protocol 2')
  }
  const [args, kwargs, embed] = body as unknown[]
  if (!Array.isArray(args)) throw new MessageError('BodyInvalid', 'the first element of the body (args) is not a list')
  if (!isJsonObject(kwargs))
    throw new MessageError('BodyInvalid', 'the second element of the body (kwargs) is not an object')
  if (embed !== undefined && embed !== null && !isJsonObject(embed)) {
    throw new MessageError('BodyInvalid', 'the third element of the body (embed) is not an object')
  }
  return {
    id,
    task,
    args,
    kwargs,
    embed: isJsonObject(embed) ? { ...NO_EMBED, ...embed } : NO_EMBED,
    retries: retriesHeader(headers),
    eta: instantHeader(headers, 'eta'),
    expires: instantHeader(headers, 'expires'),
    ignoreResult: headers['ignore_result'] === true,
    rootId: optionalText(headers['root_id']),
    parentId: optionalText(headers['parent_id']),
    groupId: optionalText(headers['group']),
    groupIndex: typeof headers['group_index'] === 'number' ? headers['group_index'] : undefined,
    ...timeLimits(headers['timelimit']),
    scheduledFor: instantHeader(headers, 'scheduled_for'),
    priority: typeof properties['priority'] === 'number' ? properties['priority'] : 0,
    routingKey: routingKey(properties['delivery_info']),
    replyTo: optionalText(properties['reply_to']),
    headers,
  }
}

function nameHeader(headers: JsonObject, name: 'id' | 'task'): string {
  const value = headers[name]
  if (value === undefined || value === null || value === '') {
    throw new MessageError('MissingHeader', `the header "${name}" is missing: the message is not of protocol 2`)
  }
  if (typeof value !== 'string' || value.length > MAX_NAME) {
    throw new MessageError('HeaderInvalid', `the header "${name}" is not text of at most ${MAX_NAME} characters`)
  }
  return value
}

function retriesHeader(headers: JsonObject): number {
  const value = headers['retries'] ?? 0
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw new MessageError(
      'HeaderInvalid',
      `the header "retries" is not a whole number: ${JSON.stringify(value).slice(0, 50)}`,
    )
  }
  return value
}

function instantHeader(headers: JsonObject, name: string): number | undefined {
  const value = headers[name]
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'string') throw new MessageError('EtaInvalid', `the header "${name}" is not ISO-8601 text`)
  try {
    return parseInstant(value)
  } catch (error) {
    if (error instanceof UsageError) throw new MessageError('EtaInvalid', `the header "${name}": ${error.message}`)
    throw error
  }
}

/** Celery's pair of [hard, soft]. */
function timeLimits(pair: unknown): Pick<TaskMessage, 'softTimeLimitSeconds' | 'hardTimeLimitSeconds'> {
  const [hard, soft] = Array.isArray(pair) ? (pair as unknown[]) : []
  const seconds = (value: unknown): number | undefined => (typeof value === 'number' && value > 0 ? value : undefined)
  return { softTimeLimitSeconds: seconds(soft), hardTimeLimitSeconds: seconds(hard) }
}

function routingKey(deliveryInfo: unknown): string | undefined {
  return isJsonObject(deliveryInfo) ? optionalText(deliveryInfo['routing_key']) : undefined
}

function optionalText(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** What a producer says about a task. */
export interface OutgoingTask {
  readonly id: string
  readonly task: string
  readonly args: readonly unknown[]
  readonly kwargs?: JsonObject
  readonly embed?: Embed
  readonly queue: string
  readonly priority?: number
  readonly retries?: number
  readonly eta?: number | undefined
  readonly expires?: number | undefined
  readonly ignoreResult?: boolean | undefined
  readonly rootId?: string | undefined
  readonly parentId?: string | undefined
  readonly scheduledFor?: number | undefined
  readonly replyTo?: string | undefined
  /** Headers that win over the protocol's own: a retry keeps those of the message it repeats. */
  readonly headers?: JsonObject
}

const ORIGIN = `gen${process.pid}@${hostname()}`

/** A task ready to be published. */
export interface EncodedTask {
  readonly raw: string
  /** Bytes of the body, before base64. */
  readonly bodyBytes: number
}

/**
 * Writes a task message.
 * @throws UsageError `ArgumentsNotJson` when the arguments can't be written as JSON
 */
export function encodeTask(task: OutgoingTask): EncodedTask {
  const body = Buffer.from(bodyJson(task))
  const kwargs = task.kwargs ?? {}
  const headers: JsonObject = {
    lang: 'js',
    task: task.task,
    id: task.id,
    shadow: null,
    eta: task.eta === undefined ? null : formatInstant(task.eta),
    expires: task.expires === undefined ? null : formatInstant(task.expires),
    group: null,
    group_index: null,
    retries: task.retries ?? 0,
    timelimit: [null, null],
    root_id: task.rootId ?? task.id,
    parent_id: task.parentId ?? null,
    argsrepr: pythonTuple(task.args),
    kwargsrepr: pythonRepr(kwargs),
    origin: ORIGIN,
    ignore_result: task.ignoreResult ?? false,
    replaced_task_nesting: 0,
    stamped_headers: null,
    stamps: {},
    ...(task.scheduledFor === undefined ? {} : { scheduled_for: formatInstant(task.scheduledFor) }),
    ...task.headers,
  }
  const raw = encodeEnvelopeBytes(
    {
      headers,
      exchange: '',
      routingKey: task.queue,
      priority: task.priority ?? 0,
      correlationId: task.id,
      replyTo: task.replyTo ?? task.id,
    },
    body,
  )
  return { raw, bodyBytes: body.length }
}

function bodyJson(task: OutgoingTask): string {
  try {
    return JSON.stringify([task.args, task.kwargs ?? {}, task.embed ?? NO_EMBED])
  } catch (error) {
    throw new UsageError(
      'ArgumentsNotJson',
      `the arguments of ${task.task} can't be written as JSON (${error instanceof Error ? error.message : String(error)}): pass an id, or plain data`,
    )
  }
}

/**
 * The message that repeats a task: the same id, one more retry, its own parent, as Celery does.
 * @param own headers that differ from the message's
 */
export function encodeRetry(
  message: TaskMessage,
  queue: string,
  eta: number | undefined,
  own: JsonObject = {},
): EncodedTask {
  return encodeTask({
    id: message.id,
    task: message.task,
    args: message.args,
    kwargs: message.kwargs,
    embed: message.embed,
    queue,
    priority: message.priority,
    replyTo: message.replyTo,
    headers: {
      ...message.headers,
      eta: eta === undefined ? null : formatInstant(eta),
      retries: message.retries + 1,
      parent_id: message.id,
      // The body is written anew, uncompressed.
      compression: undefined,
      ...own,
    },
    eta,
  })
}

/** The message that runs a dead task again from the start: the same id, no retries, at once. */
export function encodeRevival(message: TaskMessage, queue: string): EncodedTask {
  return encodeTask({
    ...message,
    queue,
    eta: undefined,
    expires: undefined,
    retries: 0,
    headers: { ...message.headers, eta: null, expires: null, retries: 0, compression: undefined },
  })
}
