// The companion beside a Celery worker: it pings it as `celery inspect ping` does, and tells which tasks it knows.
import { hostname } from 'node:os'
import { spawn, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { tied } from '../../deploy/local/command.ts'
import { connectBroker, presenceKey } from '../../src/runtime/broker/index.ts'
import { freePort, startRedis, type RedisServer } from '../fixtures/redis-server.ts'
import { until } from '../fixtures/until.ts'
import { begun, ended, newLedger } from '../integration/runtime/support/ledger.ts'
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

  /** A companion of a worker, as it is in a pod. */
  function companion(worker: string, uid: string, more: Record<string, string> = {}): ChildProcess {
    const [program, ...args] = tied(process.execPath, [MAIN])
    const env = {
      PATH: process.env.PATH,
      TASKQUEUE_BROKER_URL: redis.url,
      TASKQUEUE_NAMESPACE: 'demo',
      TASKQUEUE_NAME: 'reports',
      TASKQUEUE_POD_UID: uid,
      TASKQUEUE_COMPANION_PING: 'Celery',
      TASKQUEUE_COMPANION_NODE: `py-${worker}@${hostname()}`,
      TASKQUEUE_COMPANION_PORT: '0',
      ...more,
    }
    return spawn(program, args, { env, stdio: 'ignore' })
  }

  it('a companion pings the worker beside it, and tells which tasks it knows', async () => {
    await celery.worker('mail')
    const port = await freePort()
    const one = companion('mail', 'uid-1', { TASKQUEUE_COMPANION_PORT: String(port) })
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
      one.kill('SIGKILL')
      await broker.close()
    }
  })

  it('a companion has the worker take nothing while its pod is to go, and again when it stays, whoever is restarted', async () => {
    await celery.worker('drain', '--pool', 'threads', '--concurrency', '1')
    const key = presenceKey({ namespace: 'demo', name: 'reports' })
    const broker = await connectBroker(redis.url)
    let one = companion('drain', 'uid-2')
    const says = (what: string, busy: number): Promise<unknown> =>
      until(`it says ${what}`, async () => {
        const entry = (await broker.readPresence(key)).find(({ id }) => id === 'uid-2/companion')
        return entry?.detail?.['draining'] === true && entry.busySlots === busy && entry.queues.includes('drain')
      })
    const ledger = newLedger()
    const send = (tag: string, milliseconds: number): Promise<unknown> =>
      celery.python(
        `app.send_task('test.note', [${JSON.stringify(ledger)}, '${tag}', ${milliseconds}], queue='drain'); print(1)`,
      )
    try {
      await send('before', 15_000)
      await until('it runs', () => begun(ledger).length === 1)
      await broker.writeDraining(key, ['uid-2'], 60)
      await says('that it drains, and still has one task', 1)
      await send('meanwhile', 10)
      await says('that it has nothing in hand', 0)
      expect(ended(ledger).map(({ tag }) => tag)).toEqual(['before'])
      expect(await redis.client.llen('drain')).toBe(1)
      one.kill('SIGKILL')
      one = companion('drain', 'uid-2')
      await broker.writeDraining(key, [], 60)
      await until('it has run the other', () => ended(ledger).length === 2)
      // Celery forgets consumers that were cancelled once when it connects anew.
      await redis.client.call('CLIENT', 'KILL', 'TYPE', 'normal')
      await redis.client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await send('afterwards', 10)
      await until('it has run one after a new connection', () => ended(ledger).length === 3, 60)
      expect(ended(ledger).map(({ tag }) => tag)).toEqual(['before', 'meanwhile', 'afterwards'])
    } finally {
      one.kill('SIGKILL')
      await broker.close()
    }
  })
})
