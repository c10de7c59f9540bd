// The consumer's ticks and settle.lua, call by call: what a batch does when its outcomes differ, what a wake-up or an end does while a
// take is on its way. Workers as a whole are in delivery.test.ts.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { RedisConnection } from '../../../src/runtime/broker/redis/connection.ts'
import { RedisConsumer } from '../../../src/runtime/broker/redis/consumer.ts'
import { redisKeys } from '../../../src/runtime/broker/redis/keys.ts'
import { LeaseSlots } from '../../../src/runtime/broker/redis/lease-slots.ts'
import { takeCall } from '../../../src/runtime/broker/redis/queue-calls.ts'
import { QueueSet } from '../../../src/runtime/broker/redis/queue-set.ts'
import { ServingOrder } from '../../../src/runtime/broker/redis/serving-order.ts'
import { runScript } from '../../../src/runtime/broker/redis/scripts.ts'
import {
  answerOrder,
  settleBatch,
  settleCall,
  type PendingOutcome,
} from '../../../src/runtime/broker/redis/settle-call.ts'
import { formatTag } from '../../../src/runtime/broker/redis/tag.ts'
import type { Delivery, DeliveryToken, Outcome } from '../../../src/runtime/broker/transport.ts'
import { systemClock, type Clock } from '../../../src/runtime/clock.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'

const keys = redisKeys('', 0)
const DEAD = { most: 10_000, seconds: 2_592_000 }
let redis: RedisServer

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.close())
afterEach(async () => {
  await redis.client.config('SET', 'maxmemory', '0')
  await redis.client.flushall()
})

/** Takes `count` messages of the queue by the script; their tags, in order. */
async function take(queue: string, count: number): Promise<DeliveryToken[]> {
  await redis.client.lpush(queue, ...Array.from({ length: count }, (_, i) => `{"n":${i}}`))
  await runScript(
    redis.client,
    takeCall(new ServingOrder(keys, new QueueSet([queue])).next(), {
      process: queue,
      firstNumber: 1,
      want: count,
      leaseSeconds: 10,
    }),
  )
  return Array.from({ length: count }, (_, i) => formatTag(queue, i + 1, 0) as DeliveryToken)
}

/** Settles a batch; the answers in the order in which its outcomes were given. */
async function settle(outcomes: readonly PendingOutcome[]): Promise<string> {
  const batch = settleBatch(outcomes)
  let parked = 0
  const answers = String(
    await runScript(
      redis.client,
      settleCall(batch, keys, () => `parked:${++parked}:0`, DEAD),
    ),
  )
  const order = answerOrder(batch)
  expect([answers.length, new Set(order)]).toEqual([outcomes.length, new Set(outcomes)])
  return outcomes.map((outcome) => answers[order.indexOf(outcome)]).join('')
}

const on = (queue: string, outcome: Outcome): PendingOutcome => ({ queue, outcome })
const done = (token: DeliveryToken | undefined, queue = 'q'): PendingOutcome =>
  on(queue, { token: token ?? null, kind: 'complete' })
const resultOf = (taskId: string, json: string): { result: { taskId: string; json: string; ttlSeconds: number } } => ({
  result: { taskId, json, ttlSeconds: 60 },
})

/** What is held of the tags of these queues: the record, the score for Python's sweeps, the lease. */
async function held(...queues: string[]): Promise<string[][]> {
  const leases = await Promise.all(queues.map((queue) => redis.client.zrange(keys.leases(queue), '0', '-1')))
  const lists = [
    await redis.client.hkeys('unacked'),
    await redis.client.zrange('unacked_index', '0', '-1'),
    leases.flat(),
  ]
  return lists.map((list) => list.toSorted())
}

describe('a batch of outcomes', () => {
  it('of tasks that are done leaves what is not its own: a lost lease, a tag given twice, a tag of another', async () => {
    const [first, lost, third] = await take('q', 3)
    const [other] = await take('r', 1)
    // As kombu's sweep does it: the message goes back, the record goes; and this worker's lease is still there.
    await redis.client.multi().hdel('unacked', String(lost)).zrem('unacked_index', String(lost)).exec()
    await redis.client.multi().hset('unacked', 'python', '[]').zadd('unacked_index', 5, 'python').exec()
    expect(await settle([done(first), done(lost), done(third), done(third), done(other, 'r')])).toBe('10101')
    expect(await held('q', 'r')).toEqual([['python'], ['python'], []])
  })

  it('of tasks that left results stores those whose lease still stands, and loses none to one that is refused', async () => {
    const [first, lost, odd, last] = await take('q', 4)
    const [other] = await take('r', 1)
    await redis.client.multi().hdel('unacked', String(lost)).zrem('unacked_index', String(lost)).exec()
    await redis.client.rpush(keys.result('odd'), 'no text')
    const left = (token: DeliveryToken | undefined, id: string, queue = 'q'): PendingOutcome =>
      on(queue, { token: token ?? null, kind: 'complete', ...resultOf(id, `{"status":"SUCCESS","result":"${id}"}`) })
    const batch = [
      left(first, 'first'),
      left(lost, 'lost'),
      left(odd, 'odd'),
      left(other, 'other', 'r'),
      left(last, 'last'),
    ]
    expect(await settle([...batch, left(first, 'twice')])).toBe('10r110')
    expect(await held('q', 'r')).toEqual([[], [], []])
    const stored = await redis.client.mget(['first', 'lost', 'other', 'last', 'twice'].map((id) => keys.result(id)))
    expect(stored.map((json) => /"result":"(.*)"/.exec(json ?? '')?.[1])).toEqual([
      'first',
      undefined,
      'other',
      'last',
      undefined,
    ])
  })

  it('is answered outcome by outcome and done whole, also by a server that is full', async () => {
    const [plain, retried, died, valued, back, gone, ended] = await take('q', 7)
    const [other] = await take('r', 1)
    await redis.client.multi().hdel('unacked', String(gone)).zrem('unacked_index', String(gone)).exec()
    await redis.client.set(keys.unique('name'), 'valued')
    await redis.client.set(keys.chord('g').claim, 'ours')
    await redis.client.rpush(keys.result('odd'), 'no text')
    await redis.client.config('SET', 'maxmemory', '1')
    const letter = {
      id: 'died',
      task: 't',
      queue: 'q',
      reason: 'R',
      error: 'E',
      traceback: null,
      attempts: 1,
      diedAt: 1e12,
      worker: 'w',
    }
    const chord = {
      groupId: 'g',
      claim: 'ours',
      publish: [{ queue: 'body', priority: 0, raw: 'body' }],
      results: [],
      counts: [],
    }
    // Two of one name: what no tag fences is fenced by that.
    const early = {
      ...on('q', { token: null, kind: 'retry', publish: { queue: 'again', priority: 3, raw: 'early' } }),
      once: 'o',
    }
    const batch: PendingOutcome[] = [
      on('q', {
        token: retried ?? null,
        kind: 'retry',
        publish: { queue: 'later', priority: 0, raw: '{}', dueAt: 5e12 },
        ...resultOf('retried', '{"status":"RETRY"}'),
      }),
      done(plain),
      on('q', { token: plain ?? null, kind: 'complete', ...resultOf('plain', '{"status":"FAILURE"}') }),
      on('q', { token: died ?? null, kind: 'dead', letter, ...resultOf('died', '{"status":"FAILURE"}') }),
      done(other, 'r'),
      on('q', {
        token: valued ?? null,
        kind: 'complete',
        release: { name: 'name', id: 'valued' },
        ...resultOf('valued', '{"status":"SUCCESS"}'),
      }),
      on('q', { token: back ?? null, kind: 'giveBack', begun: false }),
      done(gone),
      on('q', { token: gone ?? null, kind: 'retry', publish: { queue: 'again', priority: 0, raw: 'forked' } }),
      on('q', {
        token: ended ?? null,
        kind: 'complete',
        following: { publish: [], results: [], counts: [], chords: [chord] },
        ...resultOf('odd', '{}'),
      }),
      early,
      early,
    ]
    // Of one tag the first in the script's order counts: the one that is done and nothing else.
    expect(await settle(batch.map((outcome) => ({ ...outcome })))).toBe('110111100r10')
    expect(await held('q', 'r')).toEqual([['parked:1:0'], ['parked:1:0'], []])
    const { client } = redis
    expect(await client.mget(['retried', 'plain', 'died', 'valued'].map((id) => keys.result(id)))).toEqual([
      '{"status":"RETRY"}',
      null,
      '{"status":"FAILURE"}',
      '{"status":"SUCCESS"}',
    ])
    expect(await client.lrange('q', 0, -1)).toEqual(['{"n":4}'])
    expect([
      await client.lrange('body', 0, -1),
      await client.lrange(keys.list('again', 3), 0, -1),
      await client.llen('again'),
    ]).toEqual([['body'], ['early'], 0])
    expect([
      await client.exists(keys.unique('name')),
      await client.hkeys(keys.deadLetters),
      await client.get(keys.chord('g').claim),
    ]).toEqual([0, ['died'], 'done'])
  })
})

describe('a result', () => {
  const CELERYS = (status: string): string => `{"status": "${status}", "result": null, "traceback": null}`
  it.each([
    ['STARTED', false],
    ['RETRY', false],
    ['FAILURE', false],
    ['REVOKED', false],
    ['SUCCESS', true],
  ])(
    "takes the place of a %s, ours or Celery's, unless that is a success, and is kept for its time",
    async (status, stays) => {
      for (const old of [`{"status":"${status}","result":1}`, CELERYS(status)]) {
        await redis.client.flushall()
        await redis.client.setex(keys.result('t'), 9, old)
        const heard: string[] = []
        const listener = redis.client.duplicate()
        await listener.subscribe(keys.result('t'))
        listener.on('message', (_, text) => void heard.push(text))
        const [token] = await take('q', 1)
        const json = '{"status":"FAILURE","result":2}'
        expect(await settle([on('q', { token: token ?? null, kind: 'complete', ...resultOf('t', json) })])).toBe('1')
        expect(await redis.client.get(keys.result('t'))).toBe(stays ? old : json)
        const ttl = await redis.client.ttl(keys.result('t'))
        expect(stays ? ttl <= 9 : ttl > 9 && ttl <= 60).toBe(true)
        if (!stays) await until('who waits is told', () => heard.length === 1)
        listener.disconnect()
        expect(await held('q')).toEqual([[], [], []])
      }
    },
  )
})

/** Nothing happens by itself: no poll, no pause that ends. */
const stopped: Clock = { ...systemClock, after: () => ({ cancel: () => undefined }) }

interface Consuming {
  readonly consumer: RedisConsumer
  readonly connection: RedisConnection
  readonly deliveries: Delivery[]
  readonly idle: () => number
}

describe('a consumer', () => {
  const opened: Consuming[] = []
  afterEach(async () => {
    for (const { consumer, connection } of opened.splice(0)) {
      await consumer.close()
      connection.close()
    }
  })

  async function consume(concurrency: number, clock: Clock, url = redis.url): Promise<Consuming> {
    const connection = new RedisConnection({ url, keyPrefix: '', name: 'test' })
    const deliveries: Delivery[] = []
    let idle = 0
    const consumer = new RedisConsumer(
      {
        connection,
        keys,
        queues: new QueueSet(['q']),
        process: 'p',
        slots: new LeaseSlots(1000),
        clock,
        random: () => 0.5,
        onIdle: () => void (idle += 1),
        dead: DEAD,
        leasesOverdue: () => false,
        onTrouble: () => undefined,
      },
      {
        queues: ['q'],
        concurrency,
        handlers: { onDeliveries: (batch) => void deliveries.push(...batch), onLost: () => undefined },
      },
    )
    await connection.whenReady(5000)
    await consumer.prepare(connection.redis)
    const consuming = { consumer, connection, deliveries, idle: () => idle }
    opened.push(consuming)
    return consuming
  }

  /** What the consumer sends goes out in this turn of the event loop; what is sent afterwards is done after it. */
  const sent = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve))

  it('takes again after a wake-up that came while the take of a settling tick was on its way', async () => {
    const { consumer, connection, deliveries, idle } = await consume(4, stopped)
    await redis.client.lpush('q', '{}', '{}', '{}')
    consumer.grant(4)
    await until('it holds three and is idle', () => deliveries.length === 3 && idle() === 1)
    consumer.settle({ token: deliveries[0]?.token ?? null, kind: 'complete' }, 'q')
    consumer.grant(1)
    await sent()
    // On the same connection: the broker has it after the take, and says so before the reply to that is read.
    const pushed = connection.redis.lpush('q', '{}')
    consumer.wake()
    await pushed
    await until('the other is taken', () => deliveries.length === 4, 5)
  })

  it('takes at once after a wake-up that brought nothing, and later after more of them', async () => {
    // With a clock that stands still, what is put off never comes.
    const { consumer, connection, idle } = await consume(4, stopped)
    consumer.grant(4)
    await until('it is idle', () => idle() === 1)
    consumer.wake()
    await until('the first brought nothing', () => idle() === 2)
    consumer.wake()
    await until('nor did the second', () => idle() === 3, 5)
    await redis.client.lpush('q', '{"n":1}')
    consumer.wake()
    await sent()
    await connection.redis.ping()
    expect(await redis.client.llen('q')).toBe(1)
  })

  it('whose queues change while a take is on its way gives back nothing of what that brings', async () => {
    const { consumer, deliveries } = await consume(4, stopped)
    await redis.client.lpush('q', '{"n":1}', '{"n":2}')
    consumer.grant(4)
    await sent()
    await consumer.queuesChanged()
    await until('both are there', () => deliveries.length >= 2)
    expect(await redis.client.lrange('q', 0, -1)).toEqual([])
    expect(await held('q')).toEqual(Array.from({ length: 3 }, () => deliveries.map(({ token }) => token).toSorted()))
    expect(await redis.client.smembers(keys.queues)).toEqual(['q'])
  })

  it('that takes no more has given back what a take on its way brings when its outcomes are confirmed', async () => {
    const { consumer, deliveries } = await consume(4, systemClock)
    await redis.client.lpush('q', '{"n":1}', '{"n":2}', '{"n":3}')
    consumer.grant(4)
    await sent()
    consumer.stopTaking()
    await consumer.flush(5000)
    expect(deliveries).toEqual([])
    expect(await redis.client.lrange('q', 0, -1)).toEqual(['{"n":3}', '{"n":2}', '{"n":1}'])
    expect(await held('q')).toEqual([[], [], []])
  })
})
