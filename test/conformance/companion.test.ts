// The companion beside a Celery worker: it pings it as `celery inspect ping` does, and tells which tasks it knows.
import { hostname } from 'node:os'
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { tied } from '../../deploy/local/command.ts'
import { connectBroker, presenceKey } from '../../src/runtime/broker/index.ts'
import { freePort, startRedis, type RedisServer } from '../fixtures/redis-server.ts'
import { until } from '../fixtures/until.ts'
import { CELERY_VERSIONS, Celery, celeryBin } from './support/celery.ts'

const MAIN = fileURLToPath(new URL('../../src/companion/main.ts', import.meta.url))

describe.each(CELERY_VERSIONS)('Celery %s:', (version) => {
  let redis: RedisServer
  let celery: Celery

  beforeAll(async () => {
    const bin = await celeryBin(version)
    redis = await startRedis()
    celery = new Celery(bin, redis.url)
  })
  afterAll(async () => {
    await celery.close()
    await redis.close()
  })

  it('a companion pings the worker beside it, and tells which tasks it knows', async () => {
    await celery.worker('mail')
    const port = await freePort()
    const [program, ...args] = tied(process.execPath, [MAIN])
    const env = {
      PATH: process.env.PATH,
      TASKQUEUE_BROKER_URL: redis.url,
      TASKQUEUE_NAMESPACE: 'demo',
      TASKQUEUE_NAME: 'reports',
      TASKQUEUE_POD_UID: 'uid-1',
      TASKQUEUE_COMPANION_PING: 'Celery',
      TASKQUEUE_COMPANION_NODE: `py-mail@${hostname()}`,
      TASKQUEUE_COMPANION_PORT: String(port),
    }
    const companion = spawn(program, args, { env, stdio: 'ignore' })
    const broker = await connectBroker(redis.url)
    try {
      const pong = async (): Promise<string> =>
        fetch(`http://127.0.0.1:${port}/ping`).then(
          (response) => response.text(),
          () => '',
        )
      await until('it pings', async () => (await pong()).includes('pong'))
      const tasks = await until('it tells the tasks', async () => {
        const [entry] = await broker.readPresence(presenceKey({ namespace: 'demo', name: 'reports' }))
        return entry?.detail?.['tasks']
      })
      expect(tasks).toEqual(expect.arrayContaining(['py.add', 'test.note']))
      expect(tasks).toEqual((tasks as string[]).toSorted())
      // Nothing of its questions stays behind.
      await until('its inboxes are gone', async () => (await redis.client.keys('*reply.celery.pidbox')).length === 0)
    } finally {
      companion.kill('SIGKILL')
      await broker.close()
    }
  })
})
