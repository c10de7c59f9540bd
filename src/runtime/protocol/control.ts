// Messages of Celery's remote control (pidbox): requests, who they are for, replies. Pure.
import { uuid4 } from './uuid.ts'
import { decodeEnvelope, decodeJsonBody, encodeEnvelope, isJsonObject, type JsonObject } from './envelope.ts'

export const CONTROL_EXCHANGE = 'celery.pidbox'
export const REPLY_EXCHANGE = 'reply.celery.pidbox'

const LIMITS = { maxBodyBytes: 1024 * 1024 }

/** A request, as far as it can be understood. */
export interface ControlRequest {
  readonly method: string
  readonly arguments: JsonObject
  readonly destination: readonly string[] | undefined
  readonly pattern: string | undefined
  readonly matcher: string | undefined
  readonly ticket: string | undefined
  readonly replyTo: { readonly exchange: string; readonly routingKey: string } | undefined
  readonly clock: unknown
  /** Seconds since the epoch. */
  readonly expires: number | undefined
}

/** Reads a request; undefined for what isn't one. */
export function decodeControl(raw: string): ControlRequest | undefined {
  let body: unknown
  let headers: JsonObject
  try {
    const envelope = decodeEnvelope(raw, LIMITS)
    headers = envelope.headers
    body = decodeJsonBody(envelope)
  } catch {
    return undefined
  }
  if (!isJsonObject(body) || typeof body['method'] !== 'string') return undefined
  const { destination, arguments: args, reply_to: replyTo } = body
  return {
    method: body['method'],
    arguments: isJsonObject(args) ? args : {},
    destination: Array.isArray(destination) ? destination.filter((name) => typeof name === 'string') : undefined,
    pattern: text(body['pattern']),
    matcher: text(body['matcher']),
    ticket: text(body['ticket']),
    replyTo: isJsonObject(replyTo)
      ? { exchange: String(replyTo['exchange']), routingKey: String(replyTo['routing_key']) }
      : undefined,
    clock: headers['clock'],
    expires: typeof headers['expires'] === 'number' ? headers['expires'] : undefined,
  }
}

/** True when a worker of this name is asked. */
export function isForUs(request: ControlRequest, hostname: string): boolean {
  if (request.destination) return request.destination.includes(hostname)
  if (request.pattern === undefined || request.matcher === undefined) return true
  return request.matcher === 'pcre' ? matchesRegExp(request.pattern, hostname) : matchesGlob(request.pattern, hostname)
}

function matchesRegExp(pattern: string, hostname: string): boolean {
  try {
    // Python's match() is anchored at the start only.
    return new RegExp(`^(?:${pattern})`).test(hostname)
  } catch {
    return false
  }
}

function matchesGlob(pattern: string, hostname: string): boolean {
  const source = pattern
    .replace(/[.+^${}()|\\]/g, '\\$&')
    .replace(/\*/g, '.*')
    .replace(/\?/g, '.')
  return matchesRegExp(`${source}$`, hostname)
}

/** Writes a reply: `{"<host>": <answer>}`. */
export function encodeReply(
  hostname: string,
  answer: unknown,
  reply: { ticket: string | undefined; clock: number; exchange: string; routingKey: string },
): string {
  return encodeEnvelope({
    headers: { ticket: reply.ticket ?? null, clock: reply.clock },
    body: { [hostname]: answer },
    exchange: reply.exchange,
    routingKey: reply.routingKey,
    deliveryMode: 1,
  })
}

/** Writes a request whose replies go to `routingKey` on the reply exchange. */
export function encodeControl(
  method: string,
  args: JsonObject,
  options: { destination?: readonly string[] | undefined; routingKey: string; expires: number; ticket?: string },
): string {
  return encodeEnvelope({
    headers: { clock: 1, expires: options.expires },
    body: {
      method,
      arguments: args,
      destination: options.destination ?? null,
      pattern: null,
      matcher: null,
      ticket: options.ticket ?? uuid4(),
      reply_to: { exchange: REPLY_EXCHANGE, routing_key: options.routingKey },
    },
    exchange: CONTROL_EXCHANGE,
    routingKey: '',
    deliveryMode: 1,
  })
}

/** A reply to a request. */
export interface ControlReply {
  /** The request's. */
  readonly ticket: string | undefined
  /** By worker. */
  readonly answers: JsonObject
}

/** Reads a reply; undefined for what isn't one. */
export function decodeReply(raw: string): ControlReply | undefined {
  try {
    const envelope = decodeEnvelope(raw, { maxBodyBytes: 16 * 1024 * 1024 })
    const answers = decodeJsonBody(envelope)
    return isJsonObject(answers) ? { ticket: text(envelope.headers['ticket']), answers } : undefined
  } catch {
    return undefined
  }
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
