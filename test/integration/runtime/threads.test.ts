// The pool `threads`: tasks that need a core, and that can be ended.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { TaskApp } from '../../../src/runtime/app.ts'
import { encodeControl } from '../../../src/runtime/protocol/control.ts'
import { endAll, run, startWorker } from '../../fixtures/command.ts'
import { begun, ended, newLedger, read } from './support/ledger.ts'
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

const threads = { concurrency: 3, args: ['--pool', 'threads'] }
const get = { timeoutSeconds: 20 }

describe('the pool of threads', () => {
  it('runs tasks outside of the main thread, with all that a handler is given', async () => {
    await startWorker(redis.url, threads)
    const sent = await app.send('test.where', [], { kwargs: { tenant: 'blue' } })
    expect(await sent.get(get)).toEqual({
      thread: expect.any(Number) as number,
      kwargs: { tenant: 'blue' },
      id: sent.id,
      attempt: 1,
    })
    expect(await (await app.send('test.where')).get(get)).not.toMatchObject({ thread: 0 })
    expect(await (await app.send('test.again')).get(get)).toBe(3)
    const progress = await app.send('test.progress')
    await until('its progress is told', async () => (await progress.peek())?.status === 'PROGRESS')
    expect(await progress.get(get)).toBe('finished')
    const inspected = await run(['inspect', 'stats', '--json'], { TASKQUEUE_BROKER_URL: redis.url })
    expect(inspected.stdout).toContain('taskqueue:threads')
  })

  it('tells failures with their class and traceback, and which are final', async () => {
    await startWorker(redis.url, threads)
    await expect((await app.send('test.permanent')).get(get)).rejects.toMatchObject({
      code: 'TaskFailed',
      message: expect.stringContaining('PermanentError: no card, no money') as string,
      traceback: expect.stringContaining('fixtures/app.ts') as string,
    })
    const [letter] = await app.store.listDeadLetters(1)
    expect(letter).toMatchObject({ reason: 'NotRetried', attempts: 1 })
    await expect((await app.send('test.reject')).get(get)).rejects.toMatchObject({ code: 'TaskFailed' })
    expect((await app.store.listDeadLetters(9)).map(({ reason }) => reason)).toContain('Rejected')
  })

  it('ends a task at its hard limit, and the worker goes on with the others', async () => {
    const worker = await startWorker(redis.url, threads)
    const other = await app.send('test.note', [ledger, 'other', 2500])
    await until('the other runs', () => begun(ledger, 'other').length === 1)
    const spinning = await app.send('test.spin', [ledger, 'spin'])
    await expect(spinning.get(get)).rejects.toMatchObject({
      message: expect.stringContaining('TimeLimitExceeded: the hard time limit of 1 s is over') as string,
    })
    expect(await other.get(get)).toBe('other')
    expect(await (await app.send('test.add', [1, 2])).get(get)).toBe(3)
    expect(worker.child.exitCode).toBeNull()
    expect(begun(ledger, 'other')).toHaveLength(1)
  })

  it('survives a task that ends its thread', async () => {
    await startWorker(redis.url, threads)
    await expect((await app.send('test.exit')).get(get)).rejects.toMatchObject({ code: 'TaskFailed' })
    expect(await (await app.send('test.add', [1, 2])).get(get)).toBe(3)
  })

  it('tells a task that its soft limit is over, and ends one that is terminated', async () => {
    await startWorker(redis.url, threads)
    const revoked = await app.send('test.spin', [ledger, 'revoked'], { headers: {} })
    await until('it runs', () => begun(ledger, 'revoked').length === 1)
    await app.transport.broadcast('celery.pidbox', '', control('revoke', { task_id: revoked.id, terminate: true }))
    await expect(revoked.get(get)).rejects.toMatchObject({ code: 'TaskRevoked' })
    expect(await (await app.send('test.add', [1, 2])).get(get)).toBe(3)
    const limited = app.signature('test.until-aborted', [ledger, 'soft']).set({ softTimeLimitSeconds: 0.5 })
    expect(await (await limited.delay()).get(get)).toBe('ignored')
    expect(ended(ledger).map(({ tag }) => tag)).toContain('soft:TimeLimit')
  })

  it('runs the hooks of the app in each thread, and stops in order', async () => {
    const hooks = newLedger()
    const worker = await startWorker(redis.url, { ...threads, env: { HOOKS_LEDGER: hooks } })
    await Promise.all([1, 2].map(async (i) => (await app.send('test.note', [ledger, `${i}`, 300])).get(get)))
    worker.signal('SIGTERM')
    expect(await worker.exit()).toBe(0)
    const perThread = new Map<string, string[]>()
    for (const { what, tag } of read(hooks)) {
      const [hook = '', thread = ''] = tag.split(':')
      perThread.set(thread, [...(perThread.get(thread) ?? []), `${what} ${hook}`])
    }
    expect(perThread.size).toBeGreaterThan(1)
    for (const [thread, order] of perThread) {
      expect(thread).not.toBe('0')
      expect(order).toEqual(['begin first', 'begin second', 'end second', 'end first'])
    }
  })
})

/** A control message as `celery control` sends it. */
function control(method: string, args: Record<string, unknown>): string {
  return encodeControl(method, args, { destination: undefined, routingKey: 'none', expires: Date.now() / 1000 + 10 })
}
