// SIGTERM: what runs may end, what doesn't is given back, and a second signal doesn't wait.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { TaskApp } from '../../../src/runtime/app.ts'
import { connectBroker, presenceKey } from '../../../src/runtime/broker/index.ts'
import { endAll, startWorker } from '../../fixtures/command.ts'
import { begun, ended, newLedger } from './support/ledger.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'

let redis: RedisServer
let app: TaskApp
let ledger: string

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.close())
beforeEach(() => {
  app = new TaskApp({ name: 'test', env: { TASKQUEUE_BROKER_URL: redis.url } })
  ledger = newLedger()
})
afterEach(async () => {
  await endAll()
  await app.close()
  await redis.client.flushall()
})

const grace = (seconds: number): { env: Record<string, string> } => ({
  env: { TASKQUEUE_SHUTDOWN_GRACE_SECONDS: String(seconds) },
})

describe('a worker whose pod is to go', () => {
  it('takes nothing and stays alive, and takes again with all its slots when it stays', async () => {
    const env = { TASKQUEUE_NAMESPACE: 'demo', TASKQUEUE_NAME: 'shop', TASKQUEUE_POD_UID: 'uid-1' }
    const worker = await startWorker(redis.url, { concurrency: 2, env })
    const broker = await connectBroker(redis.url)
    const key = presenceKey({ namespace: 'demo', name: 'shop' })
    try {
      for (let round = 0; round < 2; round++) {
        const before = ended(ledger).length
        await broker.writeDraining(key, ['uid-1'], 60)
        // It is busy at that moment, and a take is on its way now and then.
        const busy = [1, 2, 3, 4, 5, 6].map((i) => app.send('test.note', [ledger, `busy-${round}-${i}`, 1500]))
        await Promise.all(busy)
        const [entry] = await until('it says that it has drained', async () => {
          const found = await broker.readPresence(key)
          return found[0]?.detail?.['draining'] === true && found[0].busySlots === 0 ? found : undefined
        })
        expect(entry?.slots).toBe(2)
        const left = await redis.client.llen('celery')
        expect(left).toBe(6 - (ended(ledger).length - before))
        expect((await worker.health('/livez')).status).toBe(200)
        await broker.writeDraining(key, [], 60)
        await until('all have run', () => ended(ledger).length === before + 6)
        await app.send('test.note', [ledger, `both-${round}-1`, 1500])
        await app.send('test.note', [ledger, `both-${round}-2`, 1500])
        await until('both of its slots are used', () => begun(ledger).length - ended(ledger).length === 2)
        await until('they have ended', () => begun(ledger).length === ended(ledger).length)
      }
    } finally {
      await broker.close()
    }
  })
})

describe('SIGTERM', () => {
  it('lets tasks end within the grace period, takes no more, and exits 0', async () => {
    const worker = await startWorker(redis.url, { concurrency: 1, ...grace(20) })
    await app.send('test.note', [ledger, 'running', 1500])
    await until('it has begun', () => begun(ledger).length === 1)
    await app.send('test.note', [ledger, 'waiting'])
    worker.signal('SIGTERM')
    await until('it says so', async () => (await worker.health('/readyz')).body.includes('stopping'))
    expect(await worker.exit()).toBe(0)
    expect(ended(ledger).map(({ tag }) => tag)).toEqual(['running'])
    expect(await redis.client.llen('celery')).toBe(1)
    expect(await redis.client.hlen('unacked')).toBe(0)
    expect(worker.lines().at(-1)).toMatchObject({ event: 'worker-stopped', givenBack: 0 })
  })

  it('gives back what has not ended by then: it runs next, elsewhere, marked as redelivered', async () => {
    const worker = await startWorker(redis.url, { ...grace(0.5) })
    await app.send('test.note', [ledger, 'endless', 600_000])
    await app.send('test.until-aborted', [ledger, 'listening'])
    await until('both have begun', () => begun(ledger).length === 2)
    worker.signal('SIGTERM')
    expect(await worker.exit()).toBe(0)
    expect(ended(ledger)[0]?.tag).toBe('listening:WorkerStopping')
    expect(await redis.client.llen('celery')).toBe(2)
    expect(await redis.client.hlen('unacked')).toBe(0)
    const message = JSON.parse((await redis.client.lrange('celery', 0, 0))[0] ?? '') as {
      properties: { delivery_info: object }
    }
    expect(message.properties.delivery_info).toMatchObject({ redelivered: true })
    await startWorker(redis.url)
    const again = await until('another has begun it', () => begun(ledger, 'endless')[1])
    expect(again).toMatchObject({ attempt: 1, redelivered: true })
  })

  it('sent twice gives back at once', async () => {
    const worker = await startWorker(redis.url, { ...grace(600) })
    await app.send('test.note', [ledger, 'endless', 600_000])
    await until('it has begun', () => begun(ledger).length === 1)
    worker.signal('SIGTERM')
    await worker.event('worker-stopping')
    await until('it waits', async () => (await worker.health('/readyz')).status === 503)
    worker.signal('SIGTERM')
    expect(await worker.exit(15)).toBe(0)
    expect(await redis.client.llen('celery')).toBe(1)
  })

  it('ends a worker whose broker is away', async () => {
    const worker = await startWorker(redis.url, { ...grace(1) })
    await redis.down()
    try {
      await worker.event('broker-lost')
      worker.signal('SIGTERM')
      expect(await worker.exit(30)).toBe(0)
    } finally {
      await redis.up()
    }
  })
})

describe('what the worker was', () => {
  it('is not left behind: no presence, no lease', async () => {
    const worker = await startWorker(redis.url)
    await until('it is present', async () => (await redis.client.hlen('taskqueue:presence:fixture')) === 1)
    worker.signal('SIGINT')
    expect(await worker.exit()).toBe(0)
    expect(await redis.client.exists('taskqueue:presence:fixture')).toBe(0)
  })
})
