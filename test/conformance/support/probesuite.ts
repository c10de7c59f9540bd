// What the companion answers the kubelet about a real Celery worker, in each state that a worker may be in. Each version of Celery has a file of
// its own beside this folder, so that they run side by side.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { hostname } from 'node:os'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { tied } from '../../../deploy/local/command.ts'
import { celeryProbes } from '../../../src/operator/desired/probes.ts'
import { connectBroker, presenceKey } from '../../../src/runtime/broker/index.ts'
import { freePort, startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'
import { begun, ended, newLedger } from '../../integration/runtime/support/ledger.ts'
import { Celery, celeryBin, type CeleryVersion, type CeleryWorker } from './celery.ts'

const MAIN = fileURLToPath(new URL('../../../src/companion/main.ts', import.meta.url))

interface Answer {
  readonly status: number
  readonly body: string
}

/** A companion of a worker, as it is in a pod. */
interface Companion {
  liveness(): Promise<Answer>
  readiness(): Promise<Answer>
  metrics(): Promise<string>
  kill(): Promise<void>
}

export function probeSuite(version: CeleryVersion): void {
  describe(`Celery ${version}:`, () => {
    let redis: RedisServer
    let celery: Celery
    let bin: string
    const companions: Companion[] = []
    const workers: CeleryWorker[] = []

    beforeAll(async () => {
      bin = await celeryBin(version)
      redis = await startRedis()
      celery = new Celery(bin, redis.url)
    })
    afterEach(async () => {
      await Promise.all(companions.splice(0).map((one) => one.kill()))
      const children = workers.splice(0).flatMap(childrenOf)
      await celery.close()
      // A child that is in the middle of a task outlives a main process that is killed.
      for (const pid of children) end(pid)
      await redis.client.flushall()
    })
    afterAll(() => redis.close())

    async function companion(
      worker: string,
      limits: { task?: number; stalled?: number; start?: number } = {},
    ): Promise<Companion> {
      const port = await freePort()
      const [program, ...args] = tied(process.execPath, [MAIN])
      const env = {
        PATH: process.env.PATH,
        TASKQUEUE_BROKER_URL: redis.url,
        TASKQUEUE_NAMESPACE: 'demo',
        TASKQUEUE_NAME: 'reports',
        TASKQUEUE_POD_UID: worker,
        TASKQUEUE_COMPANION_PING: 'Celery',
        TASKQUEUE_COMPANION_NODE: `py-${worker}@${hostname()}`,
        TASKQUEUE_COMPANION_PORT: String(port),
        TASKQUEUE_COMPANION_MAX_TASK_SECONDS: String(limits.task ?? 600),
        TASKQUEUE_COMPANION_STALLED_SECONDS: String(limits.stalled ?? 120),
        TASKQUEUE_COMPANION_START_SECONDS: String(limits.start ?? 240),
      }
      const child: ChildProcess = spawn(program, args, { env, stdio: 'ignore' })
      const get = async (path: string): Promise<Answer> => {
        const response = await fetch(`http://127.0.0.1:${port}${path}`)
        return { status: response.status, body: await response.text() }
      }
      const one: Companion = {
        liveness: () => get('/ping?for=liveness'),
        readiness: () => get('/ping?for=readiness'),
        metrics: async () => (await get('/metrics')).body,
        kill: async () => {
          child.kill('SIGKILL')
          await until('the companion is gone', () => child.exitCode !== null || child.signalCode !== null)
        },
      }
      companions.push(one)
      await until('the companion listens', () =>
        get('/livez').then(
          ({ status }) => status === 200,
          () => false,
        ),
      )
      return one
    }

    /** Waits until liveness is answered so. */
    const answers = (one: Companion, status: number, text: string, seconds = 60): Promise<Answer> => {
      let last: Answer | undefined
      return until(
        `liveness is ${status} with "${text}"`,
        async () => {
          last = await one.liveness()
          return last.status === status && last.body.includes(text) && last
        },
        seconds,
      ).catch((error: unknown) => {
        throw new Error(`${String(error)}; the last answer was ${JSON.stringify(last)}`)
      })
    }

    const send = (queue: string, ledger: string, tag: string, milliseconds: number): Promise<unknown> =>
      celery.python(
        `app.send_task('test.note', [${JSON.stringify(ledger)}, '${tag}', ${milliseconds}], queue='${queue}'); print(1)`,
      )

    /** One whose pool are processes. */
    async function prefork(queue: string, concurrency: number, ...more: string[]): Promise<CeleryWorker> {
      const worker = await celery.worker(queue, '--pool', 'prefork', '--concurrency', String(concurrency), ...more)
      workers.push(worker)
      return worker
    }

    it('a stopped main process is not live; a broker that is away costs readiness alone', async () => {
      const worker = await prefork('plain', 1)
      const one = await companion('plain')
      await answers(one, 200, 'pong')
      await redis.down()
      expect(await until('it is unready', async () => (await one.readiness()).status === 503)).toBe(true)
      expect((await one.liveness()).status).toBe(200)
      await redis.up()
      await answers(one, 200, 'pong')
      expect((await one.readiness()).status).toBe(200)
      // Of a pool that is not known yet silence proves nothing.
      await until('its pool is known', async () => (await one.metrics()).includes('taskqueue_celery_pool_stuck 0'))
      worker.child.kill('SIGSTOP')
      await answers(one, 503, 'did not answer')
      expect((await one.readiness()).status).toBe(503)
      worker.child.kill('SIGCONT')
      await answers(one, 200, 'pong')
    })

    it('a busy solo pool is not known to be anything, also to a companion that has just begun', async () => {
      await celery.worker('solo', '--concurrency', '1')
      const broker = await connectBroker(redis.url)
      const one = await companion('solo')
      try {
        await answers(one, 200, 'pong')
        await until('the pool is told', async () => {
          const entries = await broker.readPresence(presenceKey({ namespace: 'demo', name: 'reports' }))
          return entries.some(({ detail }) => detail?.['pool'] === 'celery.concurrency.solo:TaskPool')
        })
        const ledger = newLedger()
        await send('solo', ledger, 'long', 60_000)
        await until('it runs', () => begun(ledger).length === 1)
        await answers(one, 200, 'solo')
        expect((await one.readiness()).status).toBe(200)
        await one.kill()
        const next = await companion('solo')
        await answers(next, 200, 'solo')
        expect(ended(ledger)).toEqual([])
      } finally {
        await broker.close()
      }
    })

    it('a worker without remote control has no pidbox at the broker, and is not known to be anything after a while', async () => {
      const bound = async (worker: string): Promise<boolean> =>
        (await redis.client.smembers('_kombu.binding.celery.pidbox')).includes(
          `\x06\x16\x06\x16py-${worker}@${hostname()}.celery.pidbox`,
        )
      await celery.worker('on', '--concurrency', '1')
      expect(await bound('on')).toBe(true)
      const without = new Celery(bin, redis.url, { REMOTE_CONTROL: 'off' })
      try {
        await without.worker('off', '--concurrency', '1')
        expect(await bound('off')).toBe(false)
        const one = await companion('off', { start: 3 })
        await answers(one, 200, 'no pidbox yet')
        await answers(one, 200, 'remote control is switched off')
        expect((await one.readiness()).status).toBe(200)
      } finally {
        await without.close()
      }
    })

    it('a pool all of whose slots are held too long is not live; one such task beside a free slot is told', async () => {
      await prefork('held', 2)
      const broker = await connectBroker(redis.url)
      const ledger = newLedger()
      const one = await companion('held', { task: 4 })
      try {
        await send('held', ledger, 'first', 300_000)
        const { body } = await answers(one, 200, 'beyond maxTaskSeconds')
        expect(body).toContain('test.note')
        expect(await one.metrics()).toContain('taskqueue_celery_stuck_tasks 1\n')
        const stuck = await until('the presence tells it', async () => {
          const [entry] = await broker.readPresence(presenceKey({ namespace: 'demo', name: 'reports' }))
          return entry?.detail?.['stuck']
        })
        expect(stuck).toMatchObject([{ task: 'test.note', seconds: expect.any(Number) as number }])
        expect((await one.readiness()).status).toBe(200)
        await send('held', ledger, 'second', 300_000)
        await answers(one, 503, 'all 2 slots are held')
        expect((await one.readiness()).status).toBe(503)
        expect(await one.metrics()).toContain('taskqueue_celery_pool_stuck 1\n')
      } finally {
        await broker.close()
      }
    })

    it('tasks that wait beside free slots are a stuck pool; those that wait for their time are not', async () => {
      const worker = await prefork('stalled', 2, '--prefetch-multiplier', '4')
      const one = await companion('stalled', { stalled: 3 })
      const later = "app.send_task('py.add', [1, 2], queue='stalled', countdown=3600)"
      const limited = "app.send_task('py.seldom', queue='stalled')"
      await celery.python(`${later}; ${limited}; ${limited}; ${limited}; print(1)`)
      await until('one has run', () => worker.output().includes('succeeded'))
      const inspected = async (what: string): Promise<string> =>
        celery.command('inspect', what, '--timeout', '5', '--json')
      expect(await inspected('scheduled')).toContain('py.add')
      // Those that wait for their rate limit are in neither answer.
      expect(await inspected('reserved')).not.toMatch(/py\.(add|seldom)/)
      const from = performance.now()
      await until('they have waited for longer than the limit', async () => {
        expect((await one.liveness()).status).toBe(200)
        return performance.now() - from > 8000
      })
      const children = childrenOf(worker)
      expect(children).toHaveLength(2)
      for (const pid of children) process.kill(pid, 'SIGSTOP')
      const ledger = newLedger()
      await send('stalled', ledger, 'waits', 10)
      await answers(one, 503, 'wait beside')
      for (const pid of children) process.kill(pid, 'SIGCONT')
      await answers(one, 200, 'pong')
      await until('it has run', () => ended(ledger).length === 1)
    })

    it('a companion that is killed again and again costs the worker nothing, and the next one answers at once', async () => {
      const worker = await prefork('beside', 2)
      const ledger = newLedger()
      for (let i = 0; i < 5; i++) {
        await send('beside', ledger, `job-${i}`, 500)
        const one = await companion('beside')
        // The first may still be connecting.
        await answers(one, 200, 'pong', 5)
        await one.kill()
      }
      await until('all have run', () => ended(ledger).length === 5)
      expect(begun(ledger)).toHaveLength(5)
      expect(worker.child.exitCode).toBeNull()
    })

    it('answers the probe by its own command', async () => {
      const command = celeryProbes('Exec', 'proj').livenessProbe?.exec?.command ?? []
      const probe = (host: string): Promise<number> =>
        new Promise((resolve) => {
          const [program = '', ...args] = command
          const env = { ...celery.env, HOSTNAME: host, PATH: `${bin}:${process.env.PATH ?? ''}` }
          spawn(program, args, { env, stdio: 'ignore' }).once('exit', (code) => resolve(code ?? -1))
        })
      workers.push(await celery.worker('exec', '--hostname', 'celery@exec-probe'))
      expect(await probe('exec-probe')).toBe(0)
      expect(await probe('nobody')).not.toBe(0)
    })
  })
}

/** The pids of what a worker has begun. */
function childrenOf({ child }: CeleryWorker): number[] {
  const pids = execFileSync('ps', ['-eo', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n')
  return pids
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter(([, parent]) => parent === child.pid)
    .flatMap(([pid]) => (pid === undefined ? [] : [pid]))
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}
