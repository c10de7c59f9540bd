// A broker that is away, comes back, loses replies, or falls silent.
import { createServer, type AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectBroker } from '../../../src/runtime/broker/index.ts'
import { TaskApp } from '../../../src/runtime/app.ts'
import { BrokerError } from '../../../src/runtime/errors.ts'
import { startCutProxy, type CutProxy } from './support/cut-proxy.ts'
import { endAll, launch, startWorker, FIXTURE_APP } from '../../fixtures/command.ts'
import { begun, ended, newLedger } from './support/ledger.ts'
import { sha } from './support/scripts.ts'
import { freePort, startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'

let redis: RedisServer
let app: TaskApp
let ledger: string
let proxy: CutProxy | undefined

beforeEach(async () => {
  redis = await startRedis()
  app = new TaskApp({ name: 'test', env: { TASKQUEUE_BROKER_URL: redis.url } })
  ledger = newLedger()
})
afterEach(async () => {
  await endAll()
  await app.close()
  await proxy?.close()
  proxy = undefined
  await redis.close()
})

describe('a broker that goes away', () => {
  it('makes the worker unready, not dead, and it goes on when the broker is back', async () => {
    const worker = await startWorker(redis.url)
    expect(await worker.health('/readyz')).toMatchObject({ status: 200 })
    await app.send('test.note', [ledger, 'under-way', 2000])
    await until('it has begun', () => begun(ledger).length === 1)
    await redis.down()
    await until('the worker says that it is unready, and whom it misses', async () => {
      const { status, body } = await worker.health('/readyz')
      return status === 503 && body.includes(`127.0.0.1:${redis.port}`)
    })
    expect(await worker.health('/livez')).toMatchObject({ status: 200 })
    await until('the task has ended all the same', () => ended(ledger).length === 1)
    await redis.up()
    const next = await app.send('test.add', [20, 22])
    expect(await next.get({ timeoutSeconds: 20 })).toBe(42)
    await until('it is ready again', async () => (await worker.health('/readyz')).status === 200)
    // The outcome of the task that ended meanwhile has arrived, and nothing was run twice.
    await until('nothing is unacked', async () => (await redis.client.hlen('unacked')) === 0)
    expect(ended(ledger)).toHaveLength(1)
    expect(worker.lines().filter(({ event }) => event === 'broker-lost')).toHaveLength(1)
  })

  it('is asked for again with growing delays, not in a hot loop', async () => {
    let attempts = 0
    const refusing = createServer((socket) => {
      attempts += 1
      socket.destroy()
    })
    await new Promise<void>((resolve) => refusing.listen(0, '127.0.0.1', resolve))
    const { port } = refusing.address() as AddressInfo
    try {
      const worker = launch(['worker', '--app', FIXTURE_APP], { TASKQUEUE_BROKER_URL: `redis://127.0.0.1:${port}/0` })
      await worker.event('worker-started')
      const from = performance.now()
      await until('six seconds of trying', () => performance.now() - from > 6000)
      // Transport, store, listener and lease thread: four connections, each with 100 ms doubling up to 3 s.
      expect(attempts).toBeGreaterThan(4)
      expect(attempts).toBeLessThan(50)
      expect(await worker.health('/livez')).toMatchObject({ status: 200 })
      expect(await worker.health('/readyz')).toMatchObject({ status: 503 })
    } finally {
      refusing.close()
    }
  })

  it('makes a send fail with a code within its 5 s, and a send in time gets through', async () => {
    await redis.down()
    const from = performance.now()
    await expect(app.send('test.add', [1, 1])).rejects.toMatchObject({ code: 'BrokerUnreachable' })
    expect(performance.now() - from).toBeLessThan(8000)
    const patient = app.send('test.note', [ledger, 'patient'])
    await redis.up()
    await patient
    expect(await redis.client.llen('celery')).toBe(1)
  })

  it('is a coded error for whoever only looks', async () => {
    const nobody = `redis://me:secret@127.0.0.1:${await freePort()}/0`
    const attempt = connectBroker(nobody, { timeouts: { connectMs: 700 } })
    await expect(attempt).rejects.toBeInstanceOf(BrokerError)
    await expect(attempt).rejects.toMatchObject({ code: 'BrokerUnreachable' })
    await expect(attempt).rejects.not.toThrow('secret')
  })
})

describe('a reply that is lost', () => {
  it('of a take strands nothing and doubles nothing', async () => {
    proxy = await startCutProxy(redis.port)
    const worker = await startWorker(proxy.url, { concurrency: 8 })
    const cut = proxy.cutReplyTo(sha('take'))
    await cut
    await Promise.all(Array.from({ length: 40 }, (_, i) => app.send('test.note', [ledger, `job-${i}`, 20])))
    // Cut again while there is something in the reply.
    await proxy.cutReplyTo(sha('take'))
    await until('all have ended', () => new Set(ended(ledger).map(({ tag }) => tag)).size === 40)
    await until('nothing is unacked', async () => (await redis.client.hlen('unacked')) === 0)
    expect(ended(ledger)).toHaveLength(40)
    expect(worker.lines().filter(({ event }) => event === 'lease-lost')).toEqual([])
    // Given back at once by the worker itself: nobody had to wait for a lease to end and count a loss.
    expect(begun(ledger).filter(({ redelivered }) => redelivered)).toEqual([])
  })

  it('of a settle runs nothing twice', async () => {
    proxy = await startCutProxy(redis.port)
    await startWorker(proxy.url, { concurrency: 2 })
    const cut = proxy.cutReplyTo(sha('settle'))
    await Promise.all(Array.from({ length: 10 }, (_, i) => app.send('test.note', [ledger, `job-${i}`, 10])))
    await cut
    await until('all have ended', () => new Set(ended(ledger).map(({ tag }) => tag)).size === 10)
    await until('nothing is unacked', async () => (await redis.client.hlen('unacked')) === 0)
    expect(ended(ledger)).toHaveLength(10)
  })
})

describe('a broker that falls silent', () => {
  it('is noticed, and left for another connection', { timeout: 90_000 }, async () => {
    proxy = await startCutProxy(redis.port)
    const worker = await startWorker(proxy.url)
    proxy.freeze()
    await until('the worker has noticed', async () => (await worker.health('/readyz')).status === 503, 40)
    proxy.thaw()
    expect(await (await app.send('test.add', [1, 2])).get({ timeoutSeconds: 30 })).toBe(3)
  })
})

describe('a broker that has lost its scripts', () => {
  it('is given them again', async () => {
    await startWorker(redis.url)
    expect(await (await app.send('test.add', [1, 2])).get({ timeoutSeconds: 10 })).toBe(3)
    await redis.client.script('FLUSH')
    expect(await (await app.send('test.add', [2, 2])).get({ timeoutSeconds: 10 })).toBe(4)
  })
})

describe('a broker that became a replica', () => {
  it('refuses with a code, and is used again when it is the primary', async () => {
    await startWorker(redis.url)
    expect(await (await app.send('test.add', [1, 2])).get({ timeoutSeconds: 10 })).toBe(3)
    await redis.client.replicaof('127.0.0.1', await freePort())
    await expect(app.send('test.add', [1, 1])).rejects.toMatchObject({ code: 'BrokerReadOnly' })
    await redis.client.replicaof('NO', 'ONE')
    expect(await (await app.send('test.add', [2, 2])).get({ timeoutSeconds: 20 })).toBe(4)
  })
})

describe('a broker that is reading its data', () => {
  it('is waited for, by who sends and by who works', { timeout: 90_000 }, async () => {
    const worker = await startWorker(redis.url)
    await app.send('test.add', [0, 0])
    await redis.client.set('bulk', 'x'.repeat(2_000_000))
    for (let i = 0; i < 400; i++) await redis.client.lpush('filler', 'x'.repeat(1000))
    await redis.client.save()
    await redis.down()
    await worker.event('broker-lost')
    // So slowly that it answers -LOADING for some seconds.
    await redis.up(
      '--appendonly',
      'no',
      '--key-load-delay',
      '2000000',
      '--loading-process-events-interval-bytes',
      '1024',
    )
    const early = await app.send('test.add', [1, 2]).catch((error: unknown) => error)
    if (early instanceof BrokerError) expect(early.code).toBe('BrokerLoading')
    await until(
      'a task goes through',
      async () => (await (await app.send('test.add', [1, 2])).get({ timeoutSeconds: 20 })) === 3,
      60,
    )
    const told = worker.lines().filter(({ msg }) => String(msg).includes('reading its data'))
    expect(told.length).toBeGreaterThan(0)
    expect(worker.child.exitCode).toBeNull()
  })
})

describe('a broker that is full', () => {
  it('refuses what is new, with a code, and drains', async () => {
    await Promise.all(Array.from({ length: 20 }, (_, i) => app.send('test.note', [ledger, `job-${i}`])))
    await redis.client.config('SET', 'maxmemory', '1')
    await expect(app.send('test.add', [1, 1])).rejects.toMatchObject({ code: 'BrokerOutOfMemory' })
    await startWorker(redis.url)
    await until('all have ended', () => ended(ledger).length === 20)
    await until('nothing is unacked', async () => (await redis.client.hlen('unacked')) === 0)
    await redis.client.config('SET', 'maxmemory', '0')
  })
})
