// What a broker refuses, and what a failure must not take with it: rights that lack, keys of another type, replies that are lost.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { TaskApp } from '../../../src/runtime/app.ts'
import type { Delivery } from '../../../src/runtime/broker/transport.ts'
import { RedisConnection } from '../../../src/runtime/broker/redis/connection.ts'
import { LeaseKeeper } from '../../../src/runtime/broker/redis/lease-keeper.ts'
import { RENEWED_AT_BYTES } from '../../../src/runtime/broker/redis/lease-renewal.ts'
import { LeaseSlots } from '../../../src/runtime/broker/redis/lease-slots.ts'
import { RedisTransport } from '../../../src/runtime/broker/redis/transport.ts'
import { systemClock, type Clock } from '../../../src/runtime/clock.ts'
import { endAll, startWorker } from '../../fixtures/command.ts'
import { startCutProxy, type CutProxy } from './support/cut-proxy.ts'
import { begun, ended, newLedger } from './support/ledger.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'

let redis: RedisServer
let app: TaskApp
let ledger: string
let proxy: CutProxy | undefined
let transport: RedisTransport | undefined

beforeEach(async () => {
  redis = await startRedis()
  app = new TaskApp({ name: 'test', env: { TASKQUEUE_BROKER_URL: redis.url } })
  ledger = newLedger()
})
afterEach(async () => {
  await endAll()
  await transport?.close()
  transport = undefined
  await app.close()
  await proxy?.close()
  proxy = undefined
  await redis.close()
})

const add = (queue?: string): Promise<unknown> =>
  app.send('test.add', [1, 2], queue === undefined ? {} : { queue }).then((sent) => sent.get({ timeoutSeconds: 15 }))

describe('a user that may use no channel', () => {
  it('runs, retries and stores like any other, only without being woken', async () => {
    await redis.client.call('ACL', 'SETUSER', 'mute', 'on', '>pw', '~*', '+@all', 'resetchannels')
    const url = redis.url.replace('redis://', 'redis://mute:pw@')
    await startWorker(url)
    const mute = new TaskApp({ name: 'mute', env: { TASKQUEUE_BROKER_URL: url } })
    try {
      await mute.send('test.flaky', [ledger, 'f', 2])
      await until('the second attempt ends', () => ended(ledger).length === 1)
      await until('nothing is left', async () => (await redis.client.hlen('unacked')) === 0)
      expect(begun(ledger).map(({ attempt }) => attempt)).toEqual([1, 2])
      expect(await add()).toBe(3)
    } finally {
      await mute.close()
    }
  })
})

describe('a key that is no list', () => {
  it('in the place of one queue costs no message of another, and readiness names it', async () => {
    await redis.client.set('broken', 'text')
    const worker = await startWorker(redis.url, { queues: 'celery,broken' })
    expect(await Promise.all([add(), add(), add()])).toEqual([3, 3, 3])
    await until('it is unready', async () => (await worker.health('/readyz')).status === 503)
    expect((await worker.health('/readyz')).body).toContain('broken')
    expect((await worker.health('/livez')).status).toBe(200)
    await redis.client.del('broken')
    await until('it is ready', async () => (await worker.health('/readyz')).status === 200)
    expect(await add('broken')).toBe(3)
  })

  it('refuses its messages alone when several are published at once', async () => {
    await redis.client.set('broken', 'text')
    const sent = await Promise.allSettled([
      app.send('test.add', [1, 2]),
      app.send('test.add', [1, 2], { queue: 'broken' }),
    ])
    expect(sent.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
    expect(await redis.client.llen('celery')).toBe(1)
  })

  it('in the place of a result leaves the task done', async () => {
    const worker = await startWorker(redis.url)
    const { id, publication } = app.prepare('test.add', [1, 2])
    await redis.client.rpush(`celery-task-meta-${id}`, 'x')
    await redis.client.lpush('celery', publication.raw)
    await worker.event('broker-trouble')
    expect(worker.lines().find(({ event }) => event === 'broker-trouble')?.['msg']).toContain('refused its result')
    expect(await redis.client.hlen('unacked')).toBe(0)
    expect(await redis.client.llen('celery')).toBe(0)
  })

  it('in the place of a retry forks nothing: the message stays whole until its lease ends', async () => {
    await startWorker(redis.url, {
      queues: 'work',
      env: { TASKQUEUE_ENVIRONMENT: 'Test', TASKQUEUE_DEFAULT_QUEUE: 'home' },
    })
    // Retries of a Test environment go to the default queue, whose parked messages can't be kept.
    await redis.client.set('taskqueue:parked:home', 'text')
    await app.send('test.flaky', [ledger, 'f', 2], { queue: 'work' })
    await until('it comes back', () => begun(ledger).length >= 2, 40)
    const [first, second] = begun(ledger)
    expect(first?.attempt).toBe(1)
    // The same message, not a copy with another attempt.
    expect(second?.attempt).toBe(1)
    expect(second?.redelivered).toBe(true)
    expect(await redis.client.llen('home')).toBe(0)
  }, 60_000)
})

describe('a tick that failed', () => {
  it('is not the last, also when timers fire a fraction early', async () => {
    // As setTimeout does: it counts in whole milliseconds of another clock.
    const early: Clock = { ...systemClock, after: (ms, ...rest) => systemClock.after(Math.max(0, ms - 0.5), ...rest) }
    const troubles: string[] = []
    transport = new RedisTransport({ url: redis.url, clock: early, onTrouble: (message) => troubles.push(message) })
    const taken: Delivery[] = []
    const consumer = await transport.consume({
      queues: ['celery'],
      concurrency: 4,
      handlers: { onDeliveries: (deliveries) => void taken.push(...deliveries), onLost: () => undefined },
    })
    await until('it is connected', () => transport?.state().connected)
    await redis.client.call('ACL', 'SETUSER', 'default', '-evalsha')
    consumer.grant(4)
    await until('ticks fail', () => troubles.length >= 3)
    expect(transport.state().trouble).toContain('the ACL of this user lacks a right')
    await redis.client.call('ACL', 'SETUSER', 'default', '+evalsha')
    await app.send('test.add', [1, 2])
    await until('the message is taken', () => taken.length === 1)
    expect(transport.state().trouble).toBeUndefined()
    for (const { token, queue } of taken) consumer.settle({ token, kind: 'complete' }, queue)
    await consumer.flush(5000)
  })
})

describe('a lease thread without its connection', () => {
  it('is told of, and the main connection stands in for it', async () => {
    const main = new RedisConnection({ url: redis.url, keyPrefix: '', name: 'test' })
    await main.whenReady(5000)
    const slots = new LeaseSlots(4)
    slots.add({ number: 1, queue: 0, step: 0 })
    slots.add({ number: 2, queue: 0, step: 0 })
    await redis.client.hset('unacked', 'p:1:0', '[{},"","q"]')
    await redis.client.zadd('unacked_index', 1, 'p:1:0')
    await redis.client.zadd('leases', 1, 'p:1:0', 1, 'p:2:0')
    const lost: string[] = []
    const troubles: string[] = []
    const keeper = new LeaseKeeper(
      {
        url: 'redis://127.0.0.1:1/0',
        keyPrefix: '',
        process: 'p',
        memory: slots.memory,
        renewedAt: new SharedArrayBuffer(RENEWED_AT_BYTES),
        unacked: 'unacked',
        unackedIndex: 'unacked_index',
        leases: ['leases'],
        leaseSeconds: 4,
        logFields: {},
        renewMs: 1000,
      },
      main,
      systemClock,
      { onLost: (tag) => void lost.push(tag), onTrouble: (message) => void troubles.push(message) },
    )
    try {
      const renewed = async (): Promise<number> => Number(await redis.client.zscore('leases', 'p:1:0'))
      const first = await until('the lease is renewed', async () => {
        const score = await renewed()
        return score > 1 && score
      })
      expect(troubles.join()).toMatch(/stands in for it/)
      await until('it is renewed again', async () => (await renewed()) > first)
      await until('what has no record is lost', () => lost.includes('p:2:0'))
      await until('it is in time again', () => !keeper.overdue)
      expect(troubles.filter((text) => text.includes('stands in'))).toHaveLength(1)
    } finally {
      await keeper.close()
      main.close()
    }
  })
})

describe('a server of results that is away', () => {
  it('does not cost the outcomes that are on their way when the worker is told to end', async () => {
    proxy = await startCutProxy(redis.port)
    const worker = await startWorker(redis.url, { env: { TASKQUEUE_RESULT_URL: proxy.url.replace('/0', '/1') } })
    proxy.freeze()
    await app.send('test.note', [ledger, 'n'])
    await until('it has ended', () => ended(ledger).length === 1)
    worker.signal('SIGTERM')
    expect(await worker.exit(40)).toBe(0)
    expect(await redis.client.hlen('unacked')).toBe(0)
    expect(await redis.client.llen('celery')).toBe(0)
    expect(worker.lines().map(({ event }) => event)).toContain('result-not-stored')
  }, 60_000)
})

describe('a task that is acknowledged before it runs', () => {
  it('is retried once also when the reply to its outcome is lost, and is lost aloud when the worker ends', async () => {
    proxy = await startCutProxy(redis.port)
    const worker = await startWorker(proxy.url, { env: { TASKQUEUE_SHUTDOWN_GRACE_SECONDS: '1' } })
    const cut = proxy.cutReplyTo('"retries":1')
    await app.send('test.early-noted', [ledger, 'e'])
    await cut
    await until('the second attempt runs', () => begun(ledger).length === 2)
    // A repetition would come within the back-off of one second.
    await add()
    await until('nothing is parked', async () => (await redis.client.zcard('taskqueue:parked:celery')) === 0)
    await add()
    expect(begun(ledger).map(({ attempt }) => attempt)).toEqual([1, 2])
    worker.signal('SIGTERM')
    expect(await worker.exit(20)).toBe(0)
    const events = worker.lines().map(({ event }) => event)
    expect(events).toContain('task-lost')
    expect(events).not.toContain('task-given-back')
    expect(await redis.client.llen('celery')).toBe(0)
  })
})

describe('a failure that is hard to tell of', () => {
  it('frees its slot and ends among the dead letters: an error of odd fields, arguments too deep to be written', async () => {
    await startWorker(redis.url, { concurrency: 1 })
    const odd = await app.send('test.odd-error')
    await expect(odd.get({ timeoutSeconds: 15 })).rejects.toMatchObject({ code: 'TaskFailed' })
    const { id, publication } = app.prepare('test.flaky', [ledger, 'deep', 2, 'DEEP'])
    const envelope = JSON.parse(publication.raw) as { body: string }
    const body = Buffer.from(envelope.body, 'base64')
      .toString()
      .replace('"DEEP"', '['.repeat(60_000) + ']'.repeat(60_000))
    await redis.client.lpush('celery', JSON.stringify({ ...envelope, body: Buffer.from(body).toString('base64') }))
    await until('it is dead', async () => (await app.store.readDeadLetter(id))?.reason === 'FailureUnreadable')
    expect(await add()).toBe(3)
  })
})

describe('a message that was lost and that a Python sweep wrote anew', () => {
  it('goes on being counted', async () => {
    const { id, publication } = app.prepare('test.add', [1, 2])
    const raw = `{"taskqueue-lost": 2, ${publication.raw.slice(1)}`
    await redis.client.hset('unacked', 'gone:1:0', `[${raw},"","celery"]`)
    await redis.client.zadd('unacked_index', 1, 'gone:1:0')
    await redis.client.zadd('taskqueue:leases:celery', 1, 'gone:1:0')
    await startWorker(redis.url, { env: { TASKQUEUE_MAX_LOST_DELIVERIES: '3' } })
    await until('it is dead', async () => (await app.store.readDeadLetter(id))?.reason === 'DeliveredTooOften')
  })
})
