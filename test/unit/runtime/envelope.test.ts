// Reasons for which a message is refused, each with its code, and messages as Celery writes them.
import { deflateSync, gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { MessageError } from '../../../src/runtime/errors.ts'
import { decodeEnvelope } from '../../../src/runtime/protocol/envelope.ts'
import {
  decodeTask,
  encodeRetry,
  encodeRevival,
  encodeTask,
  type TaskMessage,
} from '../../../src/runtime/protocol/task-message.ts'

const LIMITS = { maxBodyBytes: 1000 }

/** As captured from Celery 5.6 with Redis's MONITOR. */
const CELERY = {
  body: Buffer.from(
    '[[4, 5], {"note": "z\u00fcrich"}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]',
  ).toString('base64'),
  'content-encoding': 'utf-8',
  'content-type': 'application/json',
  headers: {
    lang: 'py',
    task: 'proj.add',
    id: 'd3b0',
    shadow: null,
    eta: '2026-11-25T12:00:30.500000+00:00',
    expires: null,
    group: null,
    group_index: null,
    retries: 2,
    timelimit: [null, null],
    root_id: 'd3b0',
    parent_id: null,
    argsrepr: '(4, 5)',
    kwargsrepr: '{}',
    origin: 'gen7@host',
    ignore_result: false,
    replaced_task_nesting: 0,
    stamped_headers: null,
    stamps: {},
    tenant: 'blue',
  },
  properties: {
    correlation_id: 'd3b0',
    reply_to: 'r',
    delivery_mode: 2,
    delivery_info: { exchange: '', routing_key: 'celery' },
    priority: 4,
    body_encoding: 'base64',
    delivery_tag: 't',
  },
}

type Change = Record<string, unknown>

function raw(change: { top?: Change; headers?: Change; properties?: Change } = {}): string {
  return JSON.stringify({
    ...CELERY,
    headers: { ...CELERY.headers, ...change.headers },
    properties: { ...CELERY.properties, ...change.properties },
    ...change.top,
  })
}

function refusal(text: string): string {
  try {
    decodeTask(decodeEnvelope(text, LIMITS))
  } catch (error) {
    if (error instanceof MessageError) return error.code
    throw error
  }
  return 'accepted'
}

const base64 = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64')

describe('a message of Celery', () => {
  it('is read whole', () => {
    const task = decodeTask(decodeEnvelope(raw(), LIMITS))
    expect(task).toMatchObject({
      id: 'd3b0',
      task: 'proj.add',
      args: [4, 5],
      kwargs: { note: 'z\u00fcrich' },
      retries: 2,
      eta: Date.UTC(2026, 10, 25, 12, 0, 30, 500),
      expires: undefined,
      ignoreResult: false,
      priority: 4,
      replyTo: 'r',
    })
  })

  it('is read with no headers but lang, task and id', () => {
    expect(refusal(raw({ top: { headers: { lang: 'py', task: 'a', id: 'b' } } }))).toBe('accepted')
  })

  it.each([
    ['zlib, which kombu calls gzip', 'application/x-gzip', deflateSync],
    ['gzip', 'gzip', gzipSync],
  ])('is read when its body is compressed by %s', (_, compression, compress) => {
    const body = compress(Buffer.from(CELERY.body, 'base64')).toString('base64')
    expect(decodeTask(decodeEnvelope(raw({ top: { body }, headers: { compression } }), LIMITS)).args).toEqual([4, 5])
  })

  it('tells how often it was lost', () => {
    expect(decodeEnvelope(`{"taskqueue-lost":3,${raw().slice(1)}`, LIMITS).lostDeliveries).toBe(3)
    expect(decodeEnvelope(raw(), LIMITS).lostDeliveries).toBe(0)
  })
})

describe('a message is refused', () => {
  it.each([
    ['NotJson', 'not json'],
    ['NotJson', '{"body": '],
    ['NotAnEnvelope', '[1, 2]'],
    ['NotAnEnvelope', 'null'],
    ['NotAnEnvelope', raw({ top: { headers: [] } })],
    ['NotAnEnvelope', raw({ top: { properties: undefined } })],
    ['NotAnEnvelope', raw({ top: { body: 7 } })],
    ['NotBase64', raw({ top: { body: 'a*b=' } })],
    ['NotBase64', raw({ top: { body: 'abc' } })],
    // Python's decoder takes none of these either, and Node's takes each: for the alphabet of URLs, and for A and B.
    ['NotBase64', raw({ top: { body: 'ab-_' } })],
    ['NotBase64', raw({ top: { body: 'Q\u0141\u0242=' } })],
    ['UnknownBodyEncoding', raw({ properties: { body_encoding: 'base85' } })],
    ['UnknownContentType', raw({ top: { 'content-type': undefined } })],
    ['UnknownContentType', raw({ top: { 'content-type': 'application/x-python-serialize' } })],
    ['UnknownContentType', raw({ top: { 'content-type': 'application/x-yaml' } })],
    ['UnknownContentEncoding', raw({ top: { body: Buffer.from([0xff, 0xfe]).toString('base64') } })],
    ['UnknownCompression', raw({ headers: { compression: 'application/x-brotli' } })],
    ['CompressionInvalid', raw({ headers: { compression: 'gzip' } })],
    ['BodyTooLarge', raw({ top: { body: base64([['x'.repeat(2000)], {}, {}]) } })],
    [
      'BodyTooLarge',
      raw({ top: { body: gzipSync('x'.repeat(100_000)).toString('base64') }, headers: { compression: 'gzip' } }),
    ],
    ['BodyInvalid', raw({ top: { body: base64('{"args": ') } })],
    ['BodyInvalid', raw({ top: { body: base64({ task: 'old', id: '1', args: [] }) } })],
    ['BodyInvalid', raw({ top: { body: base64([{}, {}, {}]) } })],
    ['BodyInvalid', raw({ top: { body: base64([[], [], {}]) } })],
    ['BodyInvalid', raw({ top: { body: base64([[], {}, 'chain']) } })],
    ['MissingHeader', raw({ headers: { task: undefined } })],
    ['MissingHeader', raw({ headers: { id: '' } })],
    ['HeaderInvalid', raw({ headers: { id: 17 } })],
    ['HeaderInvalid', raw({ headers: { task: 'x'.repeat(600) } })],
    ['HeaderInvalid', raw({ headers: { retries: -1 } })],
    ['HeaderInvalid', raw({ headers: { retries: 'two' } })],
    ['EtaInvalid', raw({ headers: { eta: 'soon' } })],
    ['EtaInvalid', raw({ headers: { eta: '2026-01-01T00:00:00' } })],
    ['EtaInvalid', raw({ headers: { expires: 1795573572 } })],
  ])('%s', (code, text) => {
    expect(refusal(text)).toBe(code)
  })

  it('before it is parsed when it is absurdly long', () => {
    expect(refusal('x'.repeat(2 * 1024 * 1024))).toBe('BodyTooLarge')
  })
})

describe('a message that is sent again', () => {
  const first: TaskMessage = decodeTask(decodeEnvelope(raw({ headers: { compression: undefined } }), LIMITS))
  const again = (text: string): TaskMessage => decodeTask(decodeEnvelope(text, LIMITS))

  it('as a retry keeps its id, its body and headers that are not ours, counts up, and names itself as parent', () => {
    const due = Date.UTC(2027, 0, 1)
    const retry = again(encodeRetry(first, 'mail', due).raw)
    expect(retry).toMatchObject({
      id: 'd3b0',
      task: 'proj.add',
      args: [4, 5],
      kwargs: first.kwargs,
      retries: 3,
      eta: due,
      parentId: 'd3b0',
      rootId: 'd3b0',
      priority: 4,
    })
    expect(retry.headers['tenant']).toBe('blue')
    expect(retry.headers['lang']).toBe('py')
  })

  it('from the dead letters begins anew', () => {
    expect(again(encodeRevival(first, 'mail').raw)).toMatchObject({
      id: 'd3b0',
      args: [4, 5],
      retries: 0,
      eta: undefined,
      expires: undefined,
    })
  })

  it('refuses arguments that JSON has no word for, and says what to do', () => {
    const circular: unknown[] = []
    circular.push(circular)
    expect(() => encodeTask({ id: 'a', task: 't', args: circular, queue: 'q' })).toThrow(/pass an id, or plain data/)
    expect(() => encodeTask({ id: 'a', task: 't', args: [1n], queue: 'q' })).toThrow(/can't be written as JSON/)
  })
})
