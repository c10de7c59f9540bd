// `@taskqueue/runtime/broker` and what lies under it: depth, presence, the broker's clock, leases, and the scripts' fences.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connectBroker, presenceKey, type BrokerConnection, type Presence } from '../../../src/runtime/broker/index.ts'
import { RedisConnection } from '../../../src/runtime/broker/redis/connection.ts'
import { RedisConsumer } from '../../../src/runtime/broker/redis/consumer.ts'
import { redisKeys } from '../../../src/runtime/broker/redis/keys.ts'
import { LeaseSlots } from '../../../src/runtime/broker/redis/lease-slots.ts'
import { QueueSet } from '../../../src/runtime/broker/redis/queue-set.ts'
import { RedisStore } from '../../../src/runtime/broker/redis/store.ts'
import { RedisTransport } from '../../../src/runtime/broker/redis/transport.ts'
import { systemClock } from '../../../src/runtime/clock.ts'
import type { Consumer, Delivery } from '../../../src/runtime/broker/transport.ts'
import { TaskApp } from '../../../src/runtime/app.ts'
import { endAll, startWorker } from '../../fixtures/command.ts'
import { newLedger, begun } from './support/ledger.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'

let redis: RedisServer
let broker: BrokerConnection
let app: TaskApp

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.close())
beforeEach(async () => {
  broker = await connectBroker(redis.url)
  app = new TaskApp({ name: 'test', env: { TASKQUEUE_BROKER_URL: redis.url } })
})
afterEach(async () => {
  await endAll()
  await Promise.all([broker.close(), app.close()])
  await redis.client.flushall()
})

describe('depth', () => {
  it("counts all priorities, what is in flight, what is parked, and Python's apart", async () => {
    const ledger = newLedger()
    await startWorker(redis.url, { queues: 'busy', concurrency: 2 })
    for (let i = 0; i < 5; i++)
      await app.send('test.note', [ledger, `${i}`, 60_000], { queue: 'busy', priority: [0, 3, 9, 5, 0][i] ?? 0 })
    await app.send('test.note', [ledger, 'later'], { queue: 'idle', countdown: 600 })
    await until('two run', () => begun(ledger).length === 2)
    await redis.client.hset('unacked', 'a-python-tag', '[{}, "", "busy"]')
    expect(await broker.depth(['busy', 'idle', 'unheard-of'])).toEqual({
      queues: [
        { queue: 'busy', waiting: 3, inFlight: 2, parked: 0 },
        { queue: 'idle', waiting: 1, inFlight: 0, parked: 0 },
        { queue: 'unheard-of', waiting: 0, inFlight: 0, parked: 0 },
      ],
      foreignUnacked: 1,
    })
    await startWorker(redis.url, { queues: 'idle' })
    await until('it is parked', async () => (await broker.depth(['idle'])).queues[0]?.parked === 1)
    // In flight and parked elsewhere are told from Python's also by who asks about another queue.
    expect((await broker.depth(['unheard-of'])).foreignUnacked).toBe(1)
  })
})

describe('presence', () => {
  const presence: Presence = {
    id: 'uid-1',
    counter: 1,
    kind: 'companion',
    hostname: 'h',
    pid: 1,
    version: '0',
    offsetSeconds: null,
    offsetErrorSeconds: null,
    busySlots: 0,
    slots: 0,
    queues: [],
    processed: 0,
    lastProgressAt: null,
  }

  it(
    "of a worker is in the hash of its TaskQueue, under its pod's UID, and its counter grows",
    { timeout: 60_000 },
    async () => {
      await startWorker(redis.url, {
        concurrency: 3,
        env: { TASKQUEUE_NAMESPACE: 'demo', TASKQUEUE_NAME: 'orders', TASKQUEUE_POD_UID: 'uid-7' },
      })
      const key = presenceKey({ namespace: 'demo', name: 'orders' })
      const first = await until('it is there', async () => (await broker.readPresence(key))[0])
      expect(first).toMatchObject({
        id: 'uid-7',
        kind: 'worker',
        slots: 3,
        busySlots: 0,
        queues: ['celery'],
        processed: 0,
      })
      expect(Math.abs(first.offsetSeconds ?? NaN)).toBeLessThan(1)
      expect(await redis.client.ttl(key)).toBeGreaterThan(60)
      await (await app.send('test.add', [1, 1])).get({ timeoutSeconds: 10 })
      const next = await until('it is written again', async () =>
        (await broker.readPresence(key)).find(({ counter }) => counter > first.counter),
      )
      expect(next).toMatchObject({ id: 'uid-7', processed: 1 })
      expect(Math.abs(Date.now() - (next.lastProgressAt ?? NaN))).toBeLessThan(60_000)
    },
  )

  it('of others is read as far as it can be', async () => {
    await broker.writePresence('taskqueue:presence:x/y', presence, 60)
    await redis.client.hset('taskqueue:presence:x/y', 'garbage', '{', 'stranger', '{"id": 5}')
    expect(await broker.readPresence('taskqueue:presence:x/y')).toEqual([presence])
    await broker.removePresence('taskqueue:presence:x/y', 'uid-1')
    expect(await broker.readPresence('taskqueue:presence:x/y')).toEqual([])
  })
})

describe('time', () => {
  it('measures this machine against the broker', async () => {
    const { offsetMs, errorMs, brokerMs } = await broker.time()
    expect(Math.abs(offsetMs)).toBeLessThanOrEqual(errorMs + 2)
    expect(Math.abs(brokerMs - Date.now())).toBeLessThan(1000)
  })
})

describe('a key prefix', () => {
  it('keeps two apps on one database apart: keys, results, wake-ups, control', async () => {
    const blue = new TaskApp({ name: 'blue', env: { TASKQUEUE_BROKER_URL: redis.url, TASKQUEUE_KEY_PREFIX: 'blue:' } })
    try {
      await startWorker(redis.url, { env: { TASKQUEUE_KEY_PREFIX: 'blue:' } })
      expect(await (await blue.send('test.add', [1, 2])).get({ timeoutSeconds: 10 })).toBe(3)
      await app.send('test.add', [1, 2])
      await (await blue.send('test.add', [1, 2], { countdown: 0.1 })).get({ timeoutSeconds: 10 })
      expect(await redis.client.llen('celery')).toBe(1)
      const strays = (await redis.client.keys('*')).filter((key) => !key.startsWith('blue:') && key !== 'celery')
      expect(strays).toEqual([])
    } finally {
      await blue.close()
    }
  })
})

describe('leases', () => {
  it('go to one, and their token grows with each change of the holder', async () => {
    const store = new RedisStore({ url: redis.url })
    try {
      expect(await store.acquireLease('l', 'a', 60_000)).toEqual({ held: true, token: 1, holder: 'a' })
      expect(await store.acquireLease('l', 'b', 60_000)).toEqual({ held: false, token: 1, holder: 'a' })
      expect(await store.acquireLease('l', 'a', 60_000)).toEqual({ held: true, token: 1, holder: 'a' })
      await store.releaseLease('l', 'b')
      expect((await store.acquireLease('l', 'b', 60_000)).held).toBe(false)
      await store.releaseLease('l', 'a')
      expect(await store.acquireLease('l', 'b', 60_000)).toEqual({ held: true, token: 2, holder: 'b' })
    } finally {
      await store.close()
    }
  })

  it('fence the moves of a cursor, which happen once', async () => {
    const store = new RedisStore({ url: redis.url })
    try {
      const { token } = await store.acquireLease('l', 'a', 60_000)
      const fence = { name: 'l', holder: 'a', token }
      const advance = {
        schedule: 's',
        from: null,
        to: 1000,
        missed: 2,
        missedSlots: [500, 700],
        fingerprint: 'every 1 s',
        publications: [{ queue: 'q', priority: 0, raw: 'm' }],
      }
      expect(await store.advanceCursor('b', { ...fence, token: token + 1 }, advance)).toBe('fenced')
      expect(await store.advanceCursor('b', { ...fence, holder: 'z' }, advance)).toBe('fenced')
      expect(await store.advanceCursor('b', fence, advance)).toBe('advanced')
      expect(await store.advanceCursor('b', fence, advance)).toBe('stale')
      expect(await redis.client.lrange('q', 0, -1)).toEqual(['m'])
      expect((await store.readCursors('b')).get('s')).toMatchObject({
        slot: 1000,
        runs: 1,
        missed: 2,
        fingerprint: 'every 1 s',
      })
      expect(
        await store.advanceCursor('b', fence, {
          ...advance,
          from: 1000,
          to: 2000,
          missed: 12,
          missedSlots: Array.from({ length: 9 }, (_, i) => 1100 + i),
          publications: [],
        }),
      ).toBe('advanced')
      expect((await store.readCursors('b')).get('s')).toMatchObject({ slot: 2000, runs: 1, missed: 14 })
      // The newest ten are kept.
      expect((await store.readMissedSlots('b')).get('s')).toEqual([
        700,
        ...Array.from({ length: 9 }, (_, i) => 1100 + i),
      ])
      const ahead = { ...advance, from: 2000, to: (await store.time()).brokerMs + 5000 }
      expect(await store.advanceCursor('b', fence, ahead)).toBe('early')
      expect(await store.removeCursors('b', { ...fence, token: fence.token + 1 }, ['s'])).toBe(false)
      expect((await store.readCursors('b')).size).toBe(1)
      expect(await store.removeCursors('b', fence, ['s'])).toBe(true)
      expect([(await store.readCursors('b')).size, (await store.readMissedSlots('b')).size]).toEqual([0, 0])
    } finally {
      await store.close()
    }
  })
})

describe('a consumer', () => {
  const opened: (Consumer | RedisTransport)[] = []
  afterEach(async () => {
    for (const one of opened.splice(0)) await one.close()
  })

  async function consume(
    queues: string[],
    credit: number,
    lost: string[] = [],
  ): Promise<{ consumer: Consumer; deliveries: Delivery[] }> {
    const transport = new RedisTransport({ url: redis.url })
    await transport.connect()
    const deliveries: Delivery[] = []
    const handlers = {
      onDeliveries: (batch: readonly Delivery[]) => void deliveries.push(...batch),
      onLost: (token: string) => void lost.push(token),
    }
    const consumer = await transport.consume({ queues, concurrency: credit, handlers })
    opened.push(consumer, transport)
    consumer.grant(credit)
    return { consumer, deliveries }
  }

  it('whose lease was lost settles nothing: no result, no retry, and the new owner keeps its own', async () => {
    await app.send('t', ['x'])
    const stale = await consume(['celery'], 1)
    await until('it was taken', () => stale.deliveries.length === 1)
    const token = stale.deliveries[0]?.token ?? ('' as never)
    // As kombu's sweep does: the message goes back, the record goes.
    const [record = ''] = await redis.client.hvals('unacked')
    const [message] = JSON.parse(record) as [object]
    await redis.client
      .multi()
      .hdel('unacked', token)
      .zrem('unacked_index', token)
      .rpush('celery', JSON.stringify(message))
      .exec()
    const owner = await consume(['celery'], 1)
    await until('another has it', () => owner.deliveries.length === 1)
    stale.consumer.settle(
      {
        token,
        kind: 'retry',
        publish: { queue: 'celery', priority: 0, raw: 'forked' },
        result: { taskId: 'x', json: '{"status":"RETRY"}', ttlSeconds: 60 },
      },
      'celery',
    )
    await stale.consumer.flush(5000)
    expect(await redis.client.hkeys('unacked')).toEqual([owner.deliveries[0]?.token])
    expect(await redis.client.exists('celery', 'celery-task-meta-x')).toBe(0)
    owner.consumer.settle({ token: owner.deliveries[0]?.token ?? null, kind: 'complete' }, 'celery')
    await owner.consumer.flush(5000)
    expect(await redis.client.exists('unacked', 'unacked_index', 'taskqueue:leases:celery')).toBe(0)
  })

  it('takes no more than 4 MiB and a step at once, however large its credit', async () => {
    const big = 'x'.repeat(1024 * 1024)
    for (let i = 0; i < 30; i++) await redis.client.lpush('celery', big)
    const { deliveries } = await consume(['celery'], 500)
    await until('all were taken', () => deliveries.length === 30)
    expect(await redis.client.hlen('unacked')).toBe(30)
    const instants = new Set(deliveries.map(({ takenAt }) => takenAt))
    expect(instants.size).toBeGreaterThan(2)
  })

  it('takes 20,000 small messages without losing one', async () => {
    const raws = Array.from({ length: 20_000 }, (_, i) => `m-${i}`)
    await redis.client.lpush('celery', ...raws)
    const { deliveries } = await consume(['celery'], 20_000)
    await until('all were taken', () => deliveries.length === 20_000)
    expect(await redis.client.hlen('unacked')).toBe(20_000)
    expect(new Set(deliveries.map(({ token }) => token)).size).toBe(20_000)
  })

  it('leaves a queue alone whose key is no list, and goes on with the others', async () => {
    await redis.client.set('broken', 'text')
    await app.send('t', ['x'], { queue: 'whole' })
    const { consumer, deliveries } = await consume(['whole'], 2)
    await until('the other was served', () => deliveries.length === 1)
    const refused = {
      token: deliveries[0]?.token ?? null,
      kind: 'retry' as const,
      publish: { queue: 'broken', priority: 0, raw: 'r' },
    }
    consumer.settle(refused, 'whole')
    await consumer.flush(5000)
    // The retry could not be published, so the message itself is still there.
    expect(await redis.client.hlen('unacked')).toBe(1)
  })
})

describe('a consumer whose leases are not renewed', () => {
  it('takes nothing, and goes on by itself once they are', async () => {
    const connection = new RedisConnection({ url: redis.url, keyPrefix: '', name: 'test' })
    let overdue = true
    const deliveries: Delivery[] = []
    const consumer = new RedisConsumer(
      {
        connection,
        keys: redisKeys('', 0),
        queues: new QueueSet(['celery']),
        process: 'p',
        slots: new LeaseSlots(10),
        clock: systemClock,
        random: Math.random,
        onIdle: () => undefined,
        dead: { most: 10_000, seconds: 2_592_000 },
        leasesOverdue: () => overdue,
        onTrouble: () => undefined,
      },
      {
        queues: ['celery'],
        concurrency: 1,
        handlers: { onDeliveries: (batch) => void deliveries.push(...batch), onLost: () => undefined },
      },
    )
    try {
      await connection.whenReady(5000)
      await consumer.prepare(connection.redis)
      await app.send('t', ['x'])
      consumer.grant(1)
      const from = performance.now()
      await until('it has had the time to take', () => performance.now() - from > 600)
      expect(deliveries).toEqual([])
      overdue = false
      await until('it has taken', () => deliveries.length === 1)
    } finally {
      await consumer.close()
      connection.close()
    }
  })
})
