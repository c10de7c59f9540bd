// `celery control` and Node workers: what changes a worker from outside, with the answers that a Python worker gives.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { TaskApp } from '../../src/runtime/app.ts'
import { endAll, startWorker, type Process } from '../fixtures/command.ts'
import { begun, ended, newLedger } from '../integration/runtime/support/ledger.ts'
import { startRedis, type RedisServer } from '../fixtures/redis-server.ts'
import { until } from '../fixtures/until.ts'
import { CELERY_VERSIONS, Celery, celeryBin } from './support/celery.ts'

describe.each(CELERY_VERSIONS)('Celery %s:', (version) => {
  const NODE = 'celery@node-1'
  let redis: RedisServer
  let celery: Celery
  let app: TaskApp

  beforeAll(async () => {
    const bin = await celeryBin(version)
    redis = await startRedis()
    celery = new Celery(bin, redis.url)
    app = new TaskApp({ name: 'test', env: { TASKQUEUE_BROKER_URL: redis.url } })
  })
  afterAll(async () => {
    await Promise.all([celery.close(), app.close()])
    await redis.close()
  })
  afterEach(async () => {
    await endAll()
    await redis.client.flushall()
  })

  const start = (options: Parameters<typeof startWorker>[1] = {}): Promise<Process> =>
    startWorker(redis.url, { ...options, args: ['--hostname', NODE] })

  async function ask(kind: 'control' | 'inspect', ...method: string[]): Promise<unknown> {
    const flags = ['--json', '--timeout', '5', '--destination', NODE]
    const output = JSON.parse(await celery.command(kind, ...flags, ...method)) as unknown
    // `control` prints a list of answers, `inspect` one object.
    return (Array.isArray(output) ? (output as object[]) : [output as object])
      .flatMap((answer) => Object.entries(answer))
      .find(([name]) => name === NODE)?.[1]
  }

  describe('queues', () => {
    it(
      'are added and cancelled while the worker runs, and what was taken is still leased',
      { timeout: 60_000 },
      async () => {
        const ledger = newLedger()
        await start({ queues: 'celery' })
        expect(await ask('control', 'add_consumer', 'extra')).toEqual({ ok: 'add consumer extra' })
        const running = await app.send('test.note', [ledger, 'long', 12_000], { queue: 'extra' })
        await until('it runs', () => begun(ledger).length === 1)
        expect(await ask('control', 'cancel_consumer', 'extra')).toEqual({ ok: 'no longer consuming from extra' })
        const names = ((await ask('inspect', 'active_queues')) as { name: string }[]).map(({ name }) => name)
        expect(names).toEqual(['celery'])
        await app.send('test.note', [ledger, 'left'], { queue: 'extra' })
        // Longer than a lease: another worker would have it by now.
        expect(await running.get({ timeoutSeconds: 30 })).toBe('long')
        expect(begun(ledger).map(({ tag }) => tag)).toEqual(['long'])
        expect(await redis.client.llen('extra')).toBe(1)
      },
    )
  })

  describe('revoke', () => {
    it('keeps a task from beginning, says so to who waits, and survives a restart of the worker', async () => {
      const ledger = newLedger()
      const first = await start()
      const sent = await app.send('test.note', [ledger, 'late'], { countdown: 12 })
      await until('it is parked', async () => (await redis.client.zcard('taskqueue:parked:celery')) === 1)
      expect(await ask('control', 'revoke', sent.id)).toEqual({ ok: `tasks {'${sent.id}'} flagged as revoked` })
      expect(await ask('inspect', 'revoked')).toEqual([sent.id])
      await expect(sent.get({ timeoutSeconds: 5 })).rejects.toMatchObject({ code: 'TaskRevoked' })
      await first.end()
      const second = await start()
      await second.event('task-revoked', 40)
      // It is told before it is settled.
      await until('it is settled', async () => (await redis.client.hlen('unacked')) === 0)
      expect(begun(ledger)).toEqual([])
    })

    it('with terminate ends a task that runs, and leaves others alone', async () => {
      const ledger = newLedger()
      await start()
      const sent = await app.send('test.until-aborted', [ledger, 'a'])
      const other = await app.send('test.note', [ledger, 'b', 1500])
      await until('both run', () => begun(ledger).length === 2)
      expect(await ask('control', 'terminate', 'KILL', sent.id)).toEqual({ ok: `terminate: ${sent.id}` })
      await until('its signal aborted', () => ended(ledger).some(({ tag }) => tag === 'a:Revoked'))
      const state = await celery.python(`
r = app.AsyncResult('${sent.id}')
print(json.dumps([r.state, type(r.result).__name__]))`)
      expect(state).toEqual(['REVOKED', 'TaskRevokedError'])
      expect(await other.get({ timeoutSeconds: 10 })).toBe('b')
      expect(await ask('control', 'terminate', 'KILL', 'no-such')).toEqual({ ok: 'terminate: tasks unknown' })
    })

    it('that a Python worker knows of is learnt from its hello', async () => {
      await start()
      const worker = await celery.worker('python')
      await celery.python("app.control.revoke('theirs', destination=None); print(json.dumps(True))")
      await until('it is known here', async () => ((await ask('inspect', 'revoked')) as string[]).includes('theirs'))
      await worker.end()
      await celery.close()
    })
  })

  describe('limits', () => {
    it('of rate hold tasks back in the broker, not in the worker', async () => {
      const ledger = newLedger()
      await start({ concurrency: 10 })
      expect(await ask('control', 'rate_limit', 'test.note', '5/s')).toEqual({ ok: 'new rate limit set successfully' })
      expect(await ask('inspect', 'registered')).toContain('test.note [rate_limit=5/s]')
      for (let i = 0; i < 8; i++) await app.send('test.note', [ledger, `n${i}`])
      await until('all have run', () => ended(ledger).length === 8)
      const times = begun(ledger).map(({ at }) => at)
      times.slice(1).forEach((at, i) => expect(at - (times[i] ?? 0)).toBeGreaterThanOrEqual(195))
      expect(await ask('control', 'rate_limit', 'test.note', '0')).toEqual({ ok: 'rate limit disabled successfully' })
      expect(await ask('control', 'rate_limit', 'test.note', 'often')).toMatchObject({
        error: expect.stringContaining('Invalid rate limit string') as string,
      })
      expect(await ask('control', 'rate_limit', 'no.such', '1/s')).toEqual({ error: 'unknown task' })
    })

    it('of time end an attempt, and a hard one the worker, which gives its other tasks back', async () => {
      const ledger = newLedger()
      const worker = await start()
      expect(await ask('control', 'time_limit', 'test.until-aborted', '1')).toEqual({
        ok: 'time limits set successfully',
      })
      await app.send('test.until-aborted', [ledger, 'soft'])
      await until('its signal aborted', () => ended(ledger).some(({ tag }) => tag === 'soft:TimeLimit'))

      expect(await ask('control', 'time_limit', 'test.note', '60', '1')).toEqual({ ok: 'time limits set successfully' })
      const other = await app.send('test.until-aborted', [ledger, 'other'])
      const hard = await app.send('test.note', [ledger, 'hard', 20_000])
      expect(await worker.exit(20)).toBe(1)
      expect(worker.lines().map(({ event }) => event)).toContain('hard-time-limit')
      const state = await celery.python(`
r = app.AsyncResult('${hard.id}')
print(json.dumps([r.state, type(r.result).__name__]))`)
      // The first of its attempts: it is retried.
      expect(state).toEqual(['RETRY', 'TimeLimitExceeded'])
      expect(other.id).toBeTruthy()
      expect(await redis.client.hlen('unacked')).toBe(1)
    })
  })

  describe('the pool', () => {
    it('grows and shrinks', async () => {
      const ledger = newLedger()
      await start({ concurrency: 1 })
      expect(await ask('control', 'pool_grow', '2')).toEqual({ ok: 'pool will grow' })
      for (const tag of ['a', 'b', 'c', 'd']) await app.send('test.note', [ledger, tag, 1000])
      await until('three run at once', () => begun(ledger).length === 3)
      expect(ended(ledger)).toEqual([])
      expect(await ask('control', 'pool_shrink', '2')).toEqual({ ok: 'pool will shrink' })
      expect(await ask('inspect', 'stats')).toMatchObject({ pool: { 'max-concurrency': 1 } })
      await until('all have run', () => ended(ledger).length === 4)
      const more = ['e', 'f']
      for (const tag of more) await app.send('test.note', [ledger, tag, 300])
      await until('all have run', () => ended(ledger).length === 6)
      const [e, f] = more.map((tag) => begun(ledger, tag)[0]?.at ?? 0)
      expect(Math.abs((f ?? 0) - (e ?? 0))).toBeGreaterThanOrEqual(295)
    })
  })

  describe('what is told of a worker', () => {
    it('are its configuration, without secrets, its versions, its clock and a task by its id', async () => {
      const ledger = newLedger()
      await start()
      const sent = await app.send('test.note', [ledger, 'q', 60_000])
      await until('it runs', () => begun(ledger).length === 1)
      expect(await ask('inspect', 'conf')).toMatchObject({ task_default_queue: 'celery', worker_concurrency: 4 })
      expect(await ask('inspect', 'report')).toMatchObject({ ok: expect.stringContaining('taskqueue:') as string })
      expect(await ask('inspect', 'clock')).toMatchObject({ clock: expect.any(Number) as number })
      expect(await ask('inspect', 'query_task', sent.id)).toMatchObject({ [sent.id]: ['active', { id: sent.id }] })
    })
  })
})
