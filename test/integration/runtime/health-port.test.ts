// The health port of a worker whose event loop is held: answered all the same, and it tells a long task from a process that is stuck.
import { createServer } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { TaskApp } from '../../../src/runtime/app.ts'
import { FIXTURE_APP, endAll, run, startWorker, type Process } from '../../fixtures/command.ts'
import { freePort, startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'
import { begun, ended, newLedger } from './support/ledger.ts'

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

interface Answer {
  readonly status: number
  readonly body: string
  readonly milliseconds: number
}

async function ask(worker: Process, path: string): Promise<Answer> {
  const from = performance.now()
  const answer = await worker.health(path)
  return { ...answer, milliseconds: performance.now() - from }
}

/** Waits for an answer of /livez with this status and text. */
async function livez(worker: Process, status: number, text: string): Promise<Answer> {
  let last: Answer | undefined
  return until(`/livez is ${status} with "${text}"`, async () => {
    last = await ask(worker, '/livez')
    return last.status === status && last.body.includes(text) && last
  }).catch((error: unknown) => {
    throw new Error(`${String(error)}; the last answer was ${JSON.stringify(last)}`)
  })
}

describe('a health port that another process has', () => {
  it('gives way to a free one where nobody asked for it, and is refused where somebody did', async () => {
    const other = createServer()
    // Somebody's on this machine will do as well.
    await new Promise<void>((resolve) => other.once('error', () => resolve()).listen(9808, resolve))
    try {
      const worker = await startWorker(redis.url, { env: { TASKQUEUE_HEALTH_PORT: '' } })
      expect((await worker.event('health-port-taken'))['msg']).toContain('9808')
      expect((await worker.event('health-port'))['port']).not.toBe(9808)
      expect((await worker.health('/livez')).status).toBe(200)
      const refused = await run(['worker', '--app', FIXTURE_APP, '--health-port', '9808'], {
        TASKQUEUE_BROKER_URL: redis.url,
      })
      expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('HealthPortTaken') as string })
    } finally {
      await new Promise((resolve) => other.close(resolve))
    }
  })
})

describe('a task that holds the event loop', () => {
  it('is named, and the worker is alive meanwhile; what the main thread must say is said to be late', async () => {
    const worker = await startWorker(redis.url)
    await livez(worker, 200, 'alive')
    await app.send('test.block', [ledger, 'spin', 9000])
    await until('it runs', () => begun(ledger).length === 1)
    const { body } = await livez(worker, 200, 'test.block')
    expect(JSON.parse(body)).toMatchObject({ ok: true, tasks: [{ task: 'test.block', limitSeconds: null }] })
    const times: number[] = []
    for (let i = 0; i < 21; i++) times.push((await ask(worker, '/livez')).milliseconds)
    // The middle one: a machine that has other work may be late now and then.
    expect(times.toSorted((a, b) => a - b)[10]).toBeLessThan(200)
    const [ready, metrics] = await Promise.all([ask(worker, '/readyz'), ask(worker, '/metrics')])
    expect([ready.status, metrics.status]).toEqual([503, 504])
    expect(ready.body).toMatch(/did not answer within 2 s.*test\.block/)
    expect(ended(ledger)).toHaveLength(0)
    await until('it has ended', () => ended(ledger).length === 1)
    await livez(worker, 200, 'alive')
    expect((await ask(worker, '/readyz')).status).toBe(200)
    expect((await ask(worker, '/metrics')).body).toContain('taskqueue_tasks_total')
  })

  it('for longer than TASKQUEUE_MAX_TASK_SECONDS makes the worker count as stuck, until it ends', async () => {
    const worker = await startWorker(redis.url, { env: { TASKQUEUE_MAX_TASK_SECONDS: '3' } })
    await app.send('test.block', [ledger, 'spin', 7000])
    await livez(worker, 200, 'its limit is 3 s')
    await livez(worker, 503, 'test.block')
    await livez(worker, 200, 'alive')
    expect(ended(ledger)).toHaveLength(1)
  })
})

describe('code of no task that holds the event loop', () => {
  it('makes the worker count as stuck after a limit, until it ends', async () => {
    const env = { SPIN_ON_SIGNAL_MS: '6000', TASKQUEUE_LOOP_HELD_SECONDS: '3' }
    const worker = await startWorker(redis.url, { env })
    await livez(worker, 200, 'alive')
    worker.signal('SIGUSR2')
    await livez(worker, 200, 'no task runs')
    await livez(worker, 503, 'no task runs')
    await livez(worker, 200, 'alive')
  })
})

describe('a process that was stopped and goes on', () => {
  it('is alive at once', async () => {
    const worker = await startWorker(redis.url, { env: { TASKQUEUE_LOOP_HELD_SECONDS: '1' } })
    await livez(worker, 200, 'alive')
    worker.signal('SIGSTOP')
    const from = performance.now()
    await until('it was stopped for longer than any limit', () => performance.now() - from > 5000)
    worker.signal('SIGCONT')
    for (let i = 0; i < 20; i++) expect((await ask(worker, '/livez')).status).toBe(200)
  })
})

describe('the health port', () => {
  it('that is taken keeps a worker from starting, with a word on what to do', async () => {
    const other = createServer()
    const port = await freePort()
    await new Promise<void>((resolve) => other.listen(port, resolve))
    try {
      const { code, stderr, stdout } = await run(['worker', '--app', FIXTURE_APP], {
        TASKQUEUE_BROKER_URL: redis.url,
        TASKQUEUE_HEALTH_PORT: String(port),
      })
      expect(code).toBe(2)
      expect(stderr + stdout).toMatch(/health port \d+ can't be opened.*TASKQUEUE_HEALTH_PORT/)
    } finally {
      await new Promise((resolve) => other.close(resolve))
    }
  })

  it('is free again once the worker has ended', async () => {
    const port = await freePort()
    const worker = await startWorker(redis.url, { env: { TASKQUEUE_HEALTH_PORT: String(port) } })
    expect(await worker.event('health-port')).toMatchObject({ port })
    await livez(worker, 200, 'alive')
    worker.signal('SIGTERM')
    expect(await worker.exit()).toBe(0)
    const next = createServer()
    await new Promise<void>((resolve, reject) => next.once('error', reject).listen(port, resolve))
    await new Promise((resolve) => next.close(resolve))
  })
})
