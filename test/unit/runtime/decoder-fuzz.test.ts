// The decoder on whatever may lie in a list: it returns a task or throws a MessageError, and nothing else, ever.
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { MessageError } from '../../../src/runtime/errors.ts'
import { decodeEnvelope } from '../../../src/runtime/protocol/envelope.ts'
import { decodeTask, encodeTask } from '../../../src/runtime/protocol/task-message.ts'

const LIMITS = { maxBodyBytes: 64 * 1024 }
const CASES = 25_000

function decode(raw: string): 'task' | 'refused' {
  try {
    decodeTask(decodeEnvelope(raw, LIMITS))
    return 'task'
  } catch (error) {
    if (error instanceof MessageError) return 'refused'
    throw error
  }
}

/** Values that headers and properties of real messages have, and their neighbours. */
const field = fc.oneof(
  fc.constantFrom(
    null,
    '',
    'base64',
    'application/json',
    'application/x-python-serialize',
    'utf-8',
    'gzip',
    'zlib',
    '2026-01-01T00:00:00+00:00',
    '2026-01-01',
    0,
    3,
    -1,
    1e308,
    true,
  ),
  fc.jsonValue({ maxDepth: 2 }),
)

const headerNames = [
  'id',
  'task',
  'eta',
  'expires',
  'retries',
  'compression',
  'ignore_result',
  'scheduled_for',
  'group',
  '__proto__',
  'constructor',
]

const headers = fc.dictionary(fc.constantFrom(...headerNames), field)
const properties = fc.dictionary(
  fc.constantFrom('body_encoding', 'delivery_info', 'priority', 'reply_to', 'delivery_tag'),
  field,
)

const body = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }).map((value) => Buffer.from(JSON.stringify(value)).toString('base64')),
  fc
    .tuple(fc.jsonValue(), fc.jsonValue(), fc.jsonValue())
    .map((parts) => Buffer.from(JSON.stringify(parts)).toString('base64')),
  fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes).toString('base64')),
  fc.uint8Array({ maxLength: 64 }).map((bytes) => gzipSync(bytes).toString('base64')),
  fc.string(),
  field,
)

// A hundred thousand cases take as long as they take.
describe('the decoder', { timeout: 180_000 }, () => {
  it('survives any text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary', maxLength: 300 }), fc.json()), (raw) => {
        decode(raw)
      }),
      { numRuns: CASES },
    )
  })

  it('survives envelopes whose parts are anything', () => {
    const envelope = fc.record(
      {
        body,
        headers: fc.oneof(headers, field),
        properties: fc.oneof(properties, field),
        'content-type': field,
        'content-encoding': field,
        'taskqueue-lost': field,
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(envelope, (value) => {
        decode(JSON.stringify(value))
      }),
      { numRuns: CASES },
    )
  })

  it('survives nearly right messages: every case has a readable envelope, and both ends are reached', () => {
    const seen = { task: 0, refused: 0 }
    const nearly = fc.record({
      headers,
      body: fc.tuple(
        fc.oneof(fc.array(fc.jsonValue()), field),
        fc.oneof(fc.dictionary(fc.string(), fc.jsonValue()), field),
        field,
      ),
    })
    fc.assert(
      fc.property(nearly, fc.string({ minLength: 1 }), (message, id) => {
        const raw = JSON.stringify({
          body: Buffer.from(JSON.stringify(message.body)).toString('base64'),
          'content-type': 'application/json',
          headers: { id, task: 'a.task', ...message.headers },
          properties: { body_encoding: 'base64' },
        })
        seen[decode(raw)] += 1
      }),
      { numRuns: CASES },
    )
    expect(seen.task).toBeGreaterThan(CASES / 100)
    expect(seen.refused).toBeGreaterThan(CASES / 100)
  })

  it('survives real messages with one character changed, cut or doubled', () => {
    const { raw } = encodeTask({
      id: 'c0ffee',
      task: 'orders.charge',
      args: ['A-17', { deep: [1, null, 'ä'] }],
      kwargs: { day: 1 },
      queue: 'mail',
      eta: Date.UTC(2026, 0, 1),
    })
    expect(decode(raw)).toBe('task')
    fc.assert(
      fc.property(
        fc.nat(raw.length - 1),
        fc.constantFrom('change', 'cut', 'double'),
        fc.string({ unit: 'binary', minLength: 1, maxLength: 2 }),
        (at, how, text) => {
          if (how === 'change') decode(raw.slice(0, at) + text + raw.slice(at + 1))
          else if (how === 'cut') decode(raw.slice(0, at))
          else decode(raw.slice(0, at) + raw.slice(Math.max(0, at - 20)))
        },
      ),
      { numRuns: CASES },
    )
  })

  it('gives back what the encoder was given', () => {
    const args = fc.array(fc.jsonValue({ noUnicodeString: false }))
    const kwargs = fc.dictionary(
      fc.string().filter((key) => key !== '__proto__'),
      fc.jsonValue(),
    )
    fc.assert(
      fc.property(args, kwargs, fc.integer({ min: 0, max: 9 }), fc.boolean(), (a, k, priority, ignoreResult) => {
        const sent = JSON.parse(JSON.stringify({ a, k })) as { a: unknown[]; k: Record<string, unknown> }
        const { raw } = encodeTask({
          id: 'x',
          task: 't',
          args: sent.a,
          kwargs: sent.k,
          queue: 'q',
          priority,
          ignoreResult,
        })
        const task = decodeTask(decodeEnvelope(raw, LIMITS))
        expect({
          args: task.args,
          kwargs: task.kwargs,
          priority: task.priority,
          ignoreResult: task.ignoreResult,
        }).toEqual({ args: sent.a, kwargs: sent.k, priority, ignoreResult })
      }),
    )
  })
})
