// Node and Python workers on one queue and one table of unacknowledged messages: neither steals the other's work, and each
// inherits what the other leaves behind.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { TaskApp } from '../../src/runtime/app.ts'
import { endAll, startWorker } from '../fixtures/command.ts'
import { begun, ended, newLedger } from '../integration/runtime/support/ledger.ts'
import { startRedis, type RedisServer } from '../fixtures/redis-server.ts'
import { until } from '../fixtures/until.ts'
import { CELERY_VERSIONS, Celery, celeryBin } from './support/celery.ts'

describe.each(CELERY_VERSIONS)('Celery %s:', (version) => {
  let redis: RedisServer
  let celery: Celery
  let app: TaskApp
  let ledger: string

  const SHORT = { VISIBILITY_TIMEOUT: '3' }
  const SHORT_NODE = { TASKQUEUE_VISIBILITY_TIMEOUT: '3' }

  beforeEach(async () => {
    const bin = await celeryBin(version)
    redis = await startRedis()
    celery = new Celery(bin, redis.url, SHORT)
    app = new TaskApp({ name: 'test', env: { TASKQUEUE_BROKER_URL: redis.url } })
    ledger = newLedger()
  })
  afterEach(async () => {
    await Promise.all([endAll(), celery.close(), app.close()])
    await redis.close()
  })

  describe('a shared queue', () => {
    it('is drained by both', async () => {
      await Promise.all([startWorker(redis.url, { concurrency: 1 }), celery.worker('celery')])
      await Promise.all(Array.from({ length: 60 }, (_, i) => app.send('test.note', [ledger, `job-${i}`, 50])))
      await until('all have ended', () => ended(ledger).length >= 60, 60)
      expect(new Set(ended(ledger).map(({ tag }) => tag)).size).toBe(60)
      expect(new Set(ended(ledger).map(({ pid }) => pid)).size).toBe(2)
      await until('nothing is unacked', async () => (await redis.client.hlen('unacked')) === 0)
    })

    it(
      'keeps a long Node task out of the sweep of a Python worker whose visibility timeout is shorter',
      { timeout: 120_000 },
      async () => {
        await startWorker(redis.url, { concurrency: 1, env: SHORT_NODE })
        await app.send('test.note', [ledger, 'long', 25_000])
        await until('it runs', () => begun(ledger).length === 1)
        await celery.worker('celery')
        await until('it has ended', () => ended(ledger).length > 0, 60)
        expect(begun(ledger)).toHaveLength(1)
      },
    )

    it(
      'gives what a killed Node worker held to a Python worker, after the visibility timeout',
      { timeout: 120_000 },
      async () => {
        const node = await startWorker(redis.url, { concurrency: 1, env: SHORT_NODE })
        const sent = await app.send('test.note', [ledger, 'left', 600])
        await until('it runs', () => begun(ledger).length === 1)
        node.signal('SIGKILL')
        await celery.worker('celery')
        expect(await sent.get({ timeoutSeconds: 60 })).toBe('from python')
        await until('nothing is unacked', async () => (await redis.client.hlen('unacked')) === 0)
      },
    )

    it(
      'gives what a Node worker parked to a Python worker, once it is due and no Node worker is left',
      { timeout: 120_000 },
      async () => {
        const node = await startWorker(redis.url, { concurrency: 1, env: SHORT_NODE })
        const from = Date.now()
        const sent = await app.send('test.note', [ledger, 'parked'], { countdown: 6 })
        await until('it is parked', async () => (await redis.client.zcard('taskqueue:parked:celery')) === 1)
        node.signal('SIGKILL')
        await celery.worker('celery')
        expect(await sent.get({ timeoutSeconds: 80 })).toBe('from python')
        expect((ended(ledger)[0]?.at ?? 0) - from).toBeGreaterThanOrEqual(6000)
      },
    )
  })

  describe('a global key prefix', () => {
    it('is the same on both sides', async () => {
      const prefixed = new Celery(await celeryBin(version), redis.url, { KEY_PREFIX: 'blue:' })
      const blue = new TaskApp({
        name: 'blue',
        env: { TASKQUEUE_BROKER_URL: redis.url, TASKQUEUE_KEY_PREFIX: 'blue:' },
      })
      try {
        await Promise.all([
          startWorker(redis.url, { env: { TASKQUEUE_KEY_PREFIX: 'blue:' }, args: ['--hostname', 'celery@blue'] }),
          prefixed.worker('python'),
        ])
        expect(await prefixed.python("print(json.dumps(app.send_task('test.add', args=[1, 2]).get(timeout=20)))")).toBe(
          3,
        )
        expect(await (await blue.send('py.echo', ['x'], { queue: 'python' })).get({ timeoutSeconds: 20 })).toEqual([
          ['x'],
          {},
        ])
        expect(await prefixed.command('inspect', 'ping', '--destination', 'celery@blue')).toContain('pong')
      } finally {
        await Promise.all([prefixed.close(), blue.close()])
      }
    })
  })
})
