// Small parts of the wire: queue keys, reprs, UUIDs, remote control, results, URLs that are shown.
import { describe, expect, it } from 'vitest'
import { boundQueues, redisKeys } from '../../../src/runtime/broker/redis/keys.ts'
import { codedError } from '../../../src/runtime/broker/redis/connection.ts'
import { brokerOptions, effectivePrefix } from '../../../src/runtime/broker/redis/connection-options.ts'
import { parseBrokerUrl, redactText, renameHosts, showBroker } from '../../../src/runtime/broker/redis/url.ts'
import { stepOfTag, formatTag, newProcessTag } from '../../../src/runtime/broker/redis/tag.ts'
import { LeaseSlots, readSlots } from '../../../src/runtime/broker/redis/lease-slots.ts'
import { presenceKey } from '../../../src/runtime/broker/presence.ts'
import {
  decodeControl,
  decodeReply,
  encodeControl,
  encodeReply,
  isForUs,
} from '../../../src/runtime/protocol/control.ts'
import { encodeEnvelope } from '../../../src/runtime/protocol/envelope.ts'
import { pythonRepr, pythonTuple } from '../../../src/runtime/protocol/python-repr.ts'
import { priorityStep, queueKeys } from '../../../src/runtime/protocol/queue-key.ts'
import { decodeResult, encodeResult, failureText } from '../../../src/runtime/protocol/result.ts'
import { uuid5 } from '../../../src/runtime/protocol/uuid.ts'

describe('queue keys', () => {
  it("are kombu's, one for each step", () => {
    expect(queueKeys('celery')).toEqual(['celery', 'celery\x06\x163', 'celery\x06\x166', 'celery\x06\x169'])
  })

  it('put a priority on the step below it, and clamp it', () => {
    expect([-3, 0, 2, 3, 5, 6, 8, 9, 255].map(priorityStep)).toEqual([0, 0, 0, 3, 3, 6, 6, 9, 9])
  })

  it('carry the prefix, and so do channels', () => {
    const keys = redisKeys('blue:', 3)
    expect(keys.list('mail', 6)).toBe('blue:mail\x06\x166')
    expect(keys.fanout('celery.pidbox', '')).toBe('blue:/3.celery.pidbox')
    expect(keys.fanout('celeryev', 'worker.heartbeat')).toBe('blue:/3.celeryev/worker.heartbeat')
    expect(keys.result('x')).toBe('blue:celery-task-meta-x')
    expect(keys.unacked).toBe('blue:unacked')
  })

  it('find the queues bound to a reply', () => {
    const members = ['oid\x06\x16\x06\x16oid.reply.celery.pidbox', 'other\x06\x16\x06\x16q', 'garbage']
    expect(boundQueues(members, 'oid')).toEqual(['oid.reply.celery.pidbox'])
  })
})

describe('tags', () => {
  it('end in their step, and are long enough for a skip list', () => {
    const tag = formatTag(newProcessTag(), 7, 6)
    expect(stepOfTag(tag)).toBe(6)
    expect(tag.length).toBeGreaterThan(64)
    expect(stepOfTag('nonsense')).toBe(0)
  })

  it('go through shared memory unchanged, also after days of work', () => {
    const slots = new LeaseSlots(4)
    const held = [
      { number: 1, queue: 0, step: 0 },
      { number: 4_000_000_000_000, queue: 255, step: 9 },
      { number: 77, queue: 3, step: 3 },
    ] as const
    const taken = held.map((tag) => slots.add(tag))
    expect(readSlots(slots.memory, 'p')).toEqual(
      expect.arrayContaining(
        held.map(({ number, queue, step }) => ({ queue, tag: `p:${number}:${step}`, until: Infinity })),
      ),
    )
    slots.limit(taken[0] ?? -1, 5000)
    expect(readSlots(slots.memory, 'p').map(({ until }) => until)).toEqual(expect.arrayContaining([5000, Infinity]))
    slots.remove(taken[1] ?? -1)
    expect(readSlots(slots.memory, 'p')).toHaveLength(2)
  })

  it("leave a delivery without a slot when there is none, rather than another's", () => {
    const slots = new LeaseSlots(1)
    slots.add({ number: 1, queue: 0, step: 0 })
    expect(slots.add({ number: 2, queue: 0, step: 0 })).toBe(-1)
    slots.remove(-1)
    expect(readSlots(slots.memory, 'p')).toMatchObject([{ queue: 0, tag: 'p:1:0' }])
  })
})

describe("Python's repr", () => {
  it.each([
    [[1, 2.5, null, true], '[1, 2.5, None, True]'],
    [{ a: "it's", b: [] }, `{'a': "it's", 'b': []}`],
    ['\u007f\u00a0\u00ad\u200b\u3000', "'\\x7f\\xa0\\xad\\u200b\\u3000'"],
    ['\ud83d half, \u{1f600} whole, \u{e0001} unseen', "'\\ud83d half, \u{1f600} whole, \\U000e0001 unseen'"],
    [`it's "both"`, `'it\\'s "both"'`],
    ['line\nbreak \\ tab\t', "'line\\nbreak \\\\ tab\\t'"],
  ])('of %j', (value, expected) => {
    expect(pythonRepr(value)).toBe(expected)
  })

  it('shows arguments as a tuple, and one as a tuple of one', () => {
    expect(pythonTuple([])).toBe('()')
    expect(pythonTuple([4])).toBe('(4,)')
    expect(pythonTuple([4, 'a'])).toBe("(4, 'a')")
  })

  it('is cut, also when the value is huge or deep', () => {
    expect(pythonRepr('x'.repeat(1e6)).length).toBeLessThanOrEqual(1024)
    expect(pythonRepr(Array.from({ length: 1e5 }, () => 'x')).length).toBeLessThanOrEqual(1024)
    for (const limit of [1023, 1024]) expect(pythonRepr('\u{1f600}'.repeat(2000), limit).isWellFormed()).toBe(true)
    let deep: unknown = 1
    for (let i = 0; i < 1000; i++) deep = [deep]
    expect(pythonRepr(deep)).toContain('...')
  })
})

describe('uuid5', () => {
  it("is RFC 4122's", () => {
    // uuid.uuid5(uuid.NAMESPACE_URL, 'taskqueue:demo/orders/nightly/1795573572000') in Python
    expect(uuid5('taskqueue:demo/orders/nightly/1795573572000')).toBe('503e14ea-7e4b-5ffb-96f1-1ebcca8eda6f')
  })
})

describe('remote control', () => {
  const options = { routingKey: 'oid', expires: 10 }

  it('reads what it writes', () => {
    const request = decodeControl(encodeControl('ping', { a: 1 }, { ...options, destination: ['celery@a'] }))
    expect(request).toMatchObject({
      method: 'ping',
      arguments: { a: 1 },
      destination: ['celery@a'],
      replyTo: { exchange: 'reply.celery.pidbox', routingKey: 'oid' },
      expires: 10,
    })
    expect(
      decodeReply(encodeReply('celery@a', { ok: 'pong' }, { ticket: 't', clock: 1, exchange: 'e', routingKey: 'r' })),
    ).toEqual({ ticket: 't', answers: { 'celery@a': { ok: 'pong' } } })
  })

  it('is for those it names, or whose name fits', () => {
    const all = decodeControl(encodeControl('ping', {}, options))
    if (!all) throw new Error('not read')
    expect(isForUs(all, 'celery@a')).toBe(true)
    expect(isForUs({ ...all, destination: ['celery@b'] }, 'celery@a')).toBe(false)
    expect(isForUs({ ...all, destination: [] }, 'celery@a')).toBe(false)
    expect(isForUs({ ...all, pattern: 'celery@*', matcher: 'glob' }, 'celery@a.b')).toBe(true)
    expect(isForUs({ ...all, pattern: 'other@?', matcher: 'glob' }, 'celery@a')).toBe(false)
    expect(isForUs({ ...all, pattern: 'cel.*@(a|b)', matcher: 'pcre' }, 'celery@b')).toBe(true)
    expect(isForUs({ ...all, pattern: '(', matcher: 'pcre' }, 'celery@b')).toBe(false)
  })

  it('ignores what is no request', () => {
    expect(decodeControl('{}')).toBeUndefined()
    expect(decodeControl(encodeEnvelope({ headers: {}, body: [1], exchange: '', routingKey: '' }))).toBeUndefined()
    expect(decodeReply('x')).toBeUndefined()
  })
})

describe('results', () => {
  it('begin with their status, which the script that guards SUCCESS relies on', () => {
    const json = encodeResult({ taskId: 'a', status: 'SUCCESS', result: { x: 1 }, traceback: null, doneAt: 0 })
    expect(json.startsWith('{"status":"SUCCESS"')).toBe(true)
    expect(JSON.parse(json)).toEqual({
      status: 'SUCCESS',
      result: { x: 1 },
      traceback: null,
      children: [],
      date_done: '1970-01-01T00:00:00.000000+00:00',
      task_id: 'a',
    })
  })

  it('are read from Python as well', () => {
    expect(
      decodeResult(
        '{"status": "FAILURE", "result": {"exc_type": "ValueError", "exc_message": ["no", 2], "exc_module": "builtins"}, "traceback": "Traceback"}',
      ),
    ).toEqual({
      status: 'FAILURE',
      result: { exc_type: 'ValueError', exc_message: ['no', 2], exc_module: 'builtins' },
      traceback: 'Traceback',
    })
    expect(failureText({ exc_type: 'ValueError', exc_message: ['no', 2] })).toBe('ValueError: no, 2')
    expect(decodeResult('{"result": 1}')).toBeUndefined()
    expect(decodeResult('x')).toBeUndefined()
  })
})

describe('URLs', () => {
  it('are read whole', () => {
    expect(parseBrokerUrl('rediss://me:p%40ss@[::1]:7000/4')).toMatchObject({
      kind: 'single',
      endpoints: [{ host: '::1', port: 7000 }],
      db: 4,
      username: 'me',
      password: 'p@ss',
      tls: true,
    })
    expect(brokerOptions('redis://broker', '')).toEqual({ host: 'broker', port: 6379, db: 0 })
  })

  it('of rediss may say that no certificate is required, as kombu has it', () => {
    expect(brokerOptions('rediss://h/0?ssl_cert_reqs=CERT_NONE', '').tls).toEqual({ rejectUnauthorized: false })
    expect(brokerOptions('rediss://h/0?ssl_cert_reqs=required', '').tls).toEqual({})
    expect(() => brokerOptions('rediss://h/0?ssl_ca_certs=/no/such/file', '')).toThrow(/ssl_ca_certs can't be read/)
  })

  it.each([
    'sentinel://:pw@a:1,b/2?master_name=orders&sentinel_password=other',
    'sentinel://:pw@a:1;sentinel://:pw@b:26379/2?master_name=orders&sentinel_password=other',
  ])('may name sentinels, also as Celery writes it: %s', (url) => {
    expect(brokerOptions(url, '')).toMatchObject({
      sentinels: [
        { host: 'a', port: 1 },
        { host: 'b', port: 26379 },
      ],
      name: 'orders',
      db: 2,
      password: 'pw',
      sentinelPassword: 'other',
    })
  })

  it('may name nodes of a cluster, whose keys need one hash tag', () => {
    expect(parseBrokerUrl('redis+cluster://a,b:7001')).toMatchObject({
      kind: 'cluster',
      endpoints: [
        { host: 'a', port: 6379 },
        { host: 'b', port: 7001 },
      ],
    })
    const cluster = { kind: 'cluster' } as const
    expect(effectivePrefix(cluster, '')).toBe('{taskqueue}:')
    expect(effectivePrefix(cluster, 'x{y}:')).toBe('x{y}:')
    expect(() => effectivePrefix(cluster, 'orders:')).toThrow(/such as {orders}:/)
    expect(effectivePrefix({ kind: 'single' }, 'orders:')).toBe('orders:')
  })

  it('keep all but their hosts when these are renamed', () => {
    const rename = (host: string): string | undefined => (host === 'redis' ? 'redis.demo.svc' : undefined)
    expect(renameHosts('redis://u:redis@redis:6379/0?ssl_x=redis', rename)).toBe(
      'redis://u:redis@redis.demo.svc:6379/0?ssl_x=redis',
    )
    expect(renameHosts('sentinel://a:1;sentinel://redis/0?master_name=m', rename)).toBe(
      'sentinel://a:1,redis.demo.svc/0?master_name=m',
    )
  })

  it.each(['sentinel://a/0', 'redis://a,b/0', 'redis+cluster://a/3'])('refuses what it can not mean: %s', (url) => {
    expect(() => parseBrokerUrl(url)).toThrow(/can't be used/)
  })

  it.each(['', 'broker:6379', 'http://broker', 'redis://broker/zero', 'redis://'])('refuses %j', (url) => {
    expect(() => parseBrokerUrl(url)).toThrow(/can't be used/)
  })

  it.each([
    'hunter2',
    'user:hunter2@host',
    'redis://:p#hunter2@host/0',
    'redis://:hunter2#x@host/0',
    'redis://:hunter2%@host/0',
    'redis://:hunter2 x@host/0',
    'redis://:"hunter2"/@host/0',
    'redis://host/hunter2',
    'redis://me:hunter2@host:port/0',
  ])('that can not be read are a coded error which shows nothing of them: %s', (url) => {
    expect(() => parseBrokerUrl(url)).toThrow(
      expect.objectContaining({ code: 'BrokerUrlInvalid', message: expect.not.stringContaining('hunter2') as string }),
    )
    expect(showBroker(url)).not.toContain('hunter2')
    expect(codedError(new Error('x'), url).message).not.toContain('hunter2')
  })

  it.each([
    ['redis://me:hunter2@host/1', 'redis://me:***@host:6379/1'],
    ['redis://:hunter2@host', 'redis://:***@host:6379/0'],
    ['redis://hunter2@host', 'redis://***@host:6379/0'],
    ['rediss://[::1]:7000/4?password=hunter2', 'rediss://[::1]:7000/4'],
    ['redis://host/0', 'redis://host:6379/0'],
  ])('are shown without a password: %s', (url, shown) => {
    expect(showBroker(url)).toBe(shown)
  })

  it.each([
    ['redis://me:secret@host/0', 'redis://me:***@host/0'],
    ['connect redis://:sec/ret@x@host:1 failed', 'connect redis://:***@host:1 failed'],
    ['redis://host/0', 'redis://host/0'],
    ['at redis://:se"cr et@host/0?password=hunter2', 'at redis://:***@host/0?password=***'],
    ['redis://hunter2@host', 'redis://***@host'],
  ])('never show a password: %s', (text, shown) => {
    expect(redactText(text)).toBe(shown)
  })

  it('never show a password in an error', () => {
    for (const error of [
      new Error('connect ECONNREFUSED redis://u:hunter2@h'),
      new Error('WRONGPASS no'),
      new Error('x'),
    ]) {
      expect(codedError(error, 'redis://u:hunter2@h:1/0').message).not.toContain('hunter2')
    }
    expect(() => parseBrokerUrl('redis://u:hunter2@h:port/0')).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining('hunter2') as string }),
    )
  })

  it('give errors a code by what the server said', () => {
    const code = (message: string): string => codedError(new Error(message), 'redis://h').code
    expect(
      ['WRONGPASS invalid', 'NOAUTH x', 'LOADING x', 'READONLY x', 'OOM x', 'Connection is closed.', 'ERR what'].map(
        code,
      ),
    ).toEqual([
      'BrokerAuthFailed',
      'BrokerAuthFailed',
      'BrokerLoading',
      'BrokerReadOnly',
      'BrokerOutOfMemory',
      'BrokerUnreachable',
      'BrokerRefused',
    ])
  })
})

describe('presence', () => {
  it("has one hash a TaskQueue, and the app's name outside of Kubernetes", () => {
    expect(presenceKey({ namespace: 'demo', name: 'orders' }, 'app')).toBe('taskqueue:presence:demo/orders')
    expect(presenceKey({}, 'app')).toBe('taskqueue:presence:app')
  })
})
