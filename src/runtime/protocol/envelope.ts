// kombu's JSON envelope: headers, properties and an encoded body, as it lies in a Redis list. What the body means is
// none of its business (see task-message.ts). Whatever the bytes are, decoding returns or throws a MessageError.
import { inflateRawSync, unzipSync } from 'node:zlib'
import { MessageError, asError } from '../errors.ts'
import { uuid4 } from './uuid.ts'

/** A JSON object whose fields nobody has looked at yet. */
export type JsonObject = Record<string, unknown>

/** A message as a transport hands it over. */
export interface Envelope {
  readonly headers: JsonObject
  readonly properties: JsonObject
  readonly contentType: string
  /** The body's bytes, decoded from base64 and decompressed. */
  readonly body: Buffer
  /** How often a worker took this message and was lost with it. */
  readonly lostDeliveries: number
}

/** What decoding accepts at most. */
export interface EnvelopeLimits {
  /** Bytes of the body, after decompression. */
  readonly maxBodyBytes: number
}

/** Consumers accept more than producers may send, so that a raised limit need not reach all workers at once. */
export const CONSUMER_MAX_BODY_BYTES = 16 * 1024 * 1024

/** Name of the counter that recovery writes at the front of a message (broker/redis/lua/include/redeliver.lua). */
export const LOST_FIELD = 'taskqueue-lost'

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * Reads an envelope.
 * @throws MessageError with the reason; never anything else
 */
export function decodeEnvelope(raw: string, limits: EnvelopeLimits): Envelope {
  // base64 is 4/3 of the bytes; headers (argsrepr and kwargsrepr are cut by the sender) get a MiB beside it.
  if (raw.length > (limits.maxBodyBytes * 4) / 3 + 1024 * 1024) throw tooLarge(`${raw.length} characters`, limits)
  let parsed: unknown
  try {
    parsed = JSON.parse(raw)
  } catch (error) {
    throw new MessageError('NotJson', `the message is not JSON: ${asError(error).message.slice(0, 200)}`)
  }
  if (!isJsonObject(parsed)) throw new MessageError('NotAnEnvelope', 'the message is JSON, but not an object')
  const { headers = {}, properties } = parsed
  if (!isJsonObject(headers)) throw new MessageError('NotAnEnvelope', 'the field "headers" is not an object')
  if (!isJsonObject(properties)) throw new MessageError('NotAnEnvelope', 'the field "properties" is not an object')
  const contentType = parsed['content-type']
  if (typeof contentType !== 'string')
    throw new MessageError('UnknownContentType', 'the field "content-type" is missing')
  const lost = parsed[LOST_FIELD]
  return {
    headers,
    properties,
    contentType,
    body: decompress(bodyBytes(parsed, properties, limits), headers['compression'], limits),
    lostDeliveries: typeof lost === 'number' && lost > 0 ? lost : 0,
  }
}

function bodyBytes(envelope: JsonObject, properties: JsonObject, limits: EnvelopeLimits): Buffer {
  const body = envelope['body']
  if (typeof body !== 'string') throw new MessageError('NotAnEnvelope', 'the field "body" is not text')
  const encoding = properties['body_encoding']
  let bytes: Buffer
  if (encoding === 'base64') {
    bytes = Buffer.from(body, 'base64')
    // Whatever is no base64 is left out by the decoder, and then bytes are missing. But for what it takes for base64 and Python does
    // not: the alphabet of URLs, and characters of which it sees the lower byte only.
    const padding = body.endsWith('==') ? 2 : body.endsWith('=') ? 1 : 0
    const whole = body.length % 4 === 0 && bytes.length === (body.length / 4) * 3 - padding
    if (!whole || body.includes('-') || body.includes('_') || Buffer.byteLength(body) !== body.length) {
      throw new MessageError('NotBase64', 'the body is said to be base64 and is not')
    }
  } else if (encoding === undefined || encoding === null) {
    bytes = Buffer.from(body, 'utf8')
  } else {
    throw new MessageError('UnknownBodyEncoding', `body_encoding ${show(encoding)} is not known; base64 is`)
  }
  if (bytes.length > limits.maxBodyBytes) throw tooLarge(`${bytes.length} bytes`, limits)
  return bytes
}

/** kombu's names of zlib, which it calls gzip, and what plain gzip tools write. */
const ZLIB_NAMES = new Set(['application/x-gzip', 'application/gzip', 'gzip', 'zlib', 'application/zlib'])

function decompress(bytes: Buffer, compression: unknown, limits: EnvelopeLimits): Buffer {
  if (compression === undefined || compression === null) return bytes
  const known = typeof compression === 'string' && (ZLIB_NAMES.has(compression) || compression === 'deflate')
  if (!known) {
    throw new MessageError(
      'UnknownCompression',
      `compression ${show(compression)} is not known; gzip, zlib and deflate are`,
    )
  }
  try {
    // The bound on the output makes a decompression bomb an error instead of an outage.
    const options = { maxOutputLength: limits.maxBodyBytes }
    return compression === 'deflate' ? inflateRawSync(bytes, options) : unzipSync(bytes, options)
  } catch (error) {
    if (error instanceof RangeError) throw tooLarge('more bytes once decompressed', limits)
    throw new MessageError('CompressionInvalid', `the body can't be decompressed: ${asError(error).message}`)
  }
}

/** Made once: making it takes longer than decoding a body. */
const strictUtf8 = new TextDecoder('utf-8', { fatal: true })

/**
 * The JSON value of a body.
 * @throws MessageError `UnknownContentType` (pickle and yaml are never loaded), `UnknownContentEncoding`, `BodyInvalid`
 */
export function decodeJsonBody(envelope: Pick<Envelope, 'contentType' | 'body'>): unknown {
  if (envelope.contentType !== 'application/json') {
    throw new MessageError(
      'UnknownContentType',
      `content type ${show(envelope.contentType)} is not loaded; set the producer's task_serializer to json`,
    )
  }
  let text: string
  try {
    text = strictUtf8.decode(envelope.body)
  } catch {
    throw new MessageError('UnknownContentEncoding', 'the body is not UTF-8')
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new MessageError('BodyInvalid', `the body is not JSON: ${asError(error).message.slice(0, 200)}`)
  }
}

/** What a message is made of when it is sent. */
export interface OutgoingEnvelope {
  readonly headers: JsonObject
  readonly body: unknown
  readonly exchange: string
  readonly routingKey: string
  readonly priority?: number
  /** 2 for what must outlive the broker's restart, 1 for replies and events. */
  readonly deliveryMode?: 1 | 2
  readonly correlationId?: string
  readonly replyTo?: string
}

/** Writes an envelope the way kombu does. */
export function encodeEnvelope(message: OutgoingEnvelope): string {
  return encodeEnvelopeBytes(message, Buffer.from(JSON.stringify(message.body)))
}

/** The same for a body that is encoded already. */
export function encodeEnvelopeBytes(message: Omit<OutgoingEnvelope, 'body'>, body: Buffer): string {
  const { correlationId, replyTo, exchange, routingKey, priority = 0, deliveryMode = 2 } = message
  // Spliced, since it is most of what a publish costs: base64 and UUIDs have nothing to escape.
  const ids =
    (correlationId === undefined ? '' : `"correlation_id":${JSON.stringify(correlationId)},`) +
    (replyTo === undefined ? '' : `"reply_to":${JSON.stringify(replyTo)},`)
  const info = `{"exchange":${JSON.stringify(exchange)},"routing_key":${JSON.stringify(routingKey)}}`
  return (
    `{"body":"${body.toString('base64')}","content-encoding":"utf-8","content-type":"application/json",` +
    `"headers":${JSON.stringify(message.headers)},"properties":{${ids}"delivery_mode":${deliveryMode},` +
    `"delivery_info":${info},"priority":${priority},"body_encoding":"base64","delivery_tag":"${uuid4()}"}}`
  )
}

function tooLarge(size: string, limits: EnvelopeLimits): MessageError {
  return new MessageError('BodyTooLarge', `the message has ${size}; at most ${limits.maxBodyBytes} bytes are accepted`)
}

function show(value: unknown): string {
  return ((JSON.stringify(value) as string | undefined) ?? String(value)).slice(0, 100)
}

/** A message as a consumer takes it: what it is, or why it can't be read. Never throws. */
export function readEnvelope(raw: string): Envelope | MessageError {
  try {
    return decodeEnvelope(raw, { maxBodyBytes: CONSUMER_MAX_BODY_BYTES })
  } catch (error) {
    if (error instanceof MessageError) return error
    return new MessageError('NotAnEnvelope', `the message can't be read: ${String(error)}`)
  }
}
