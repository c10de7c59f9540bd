// What options of tasks and of the app do in a worker of the pool `async`.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { TaskApp } from '../../../src/runtime/app.ts'
import { endAll, FIXTURE_APP, launch, startWorker } from '../../fixtures/command.ts'
import { begun, newLedger, read } from './support/ledger.ts'
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

const get = { timeoutSeconds: 20 }

describe('a schema of arguments', () => {
  it('makes them what it says, and its refusal is final', async () => {
    await startWorker(redis.url)
    expect(await (await app.send('test.checked', ['A-1', '7'])).get(get)).toEqual({ id: 'A-1', count: 7 })
    const refused = await app.send('test.checked', ['A-1', 'none'])
    await expect(refused.get(get)).rejects.toMatchObject({
      message: expect.stringContaining('ArgumentsInvalid: the arguments do not fit: 1: expected 1 or more') as string,
    })
    expect(await app.store.readDeadLetter(refused.id)).toMatchObject({ reason: 'NotRetried', attempts: 1 })
  })
})

describe('retries', () => {
  it('may be asked for by the handler, and spaced by a function of its own', async () => {
    await startWorker(redis.url)
    expect(await (await app.send('test.again')).get(get)).toBe(3)
    expect(await (await app.send('test.own-backoff')).get(get)).toBe(3)
  })

  it('end with a rejection, which is told as one', async () => {
    const worker = await startWorker(redis.url)
    const sent = await app.send('test.reject')
    await expect(sent.get(get)).rejects.toMatchObject({ message: expect.stringContaining('not for us') as string })
    expect(await app.store.readDeadLetter(sent.id)).toMatchObject({ reason: 'Rejected', attempts: 1 })
    expect(await worker.event('task-failed')).toMatchObject({ reason: 'Rejected' })
  })
})

describe('hooks', () => {
  it('run before the first task and after the last', async () => {
    const worker = await startWorker(redis.url, { env: { HOOKS_LEDGER: ledger } })
    const sent = await app.send('test.note', [ledger, 'task', 300])
    await until('it runs', () => begun(ledger, 'task').length === 1)
    worker.signal('SIGTERM')
    expect(await worker.exit()).toBe(0)
    expect(await sent.state()).toBe('SUCCESS')
    expect(read(ledger).map(({ what, tag }) => `${what} ${tag}`)).toEqual([
      'begin first:0',
      'begin second:0',
      'begin task',
      'end task',
      'end second:0',
      'end first:0',
    ])
  })

  it('that fail at the start end the worker before it takes anything, those at the end only complain', async () => {
    await app.send('test.note', [ledger, 'task'])
    const env = { TASKQUEUE_BROKER_URL: redis.url, HOOKS_LEDGER: ledger }
    const failing = launch(['worker', '--app', FIXTURE_APP], { ...env, HOOKS_FAIL: 'first' })
    expect(await failing.exit()).toBe(1)
    expect(failing.lines().at(-1)).toMatchObject({ level: 'fatal', error: { message: 'the hook first failed' } })
    expect(await redis.client.llen('celery')).toBe(1)
  })
})

describe('a task that holds the event loop beyond its hard limit', () => {
  it('is no longer leased, and its worker is ended although it can not end itself', { timeout: 120_000 }, async () => {
    const env = { TASKQUEUE_MAX_LOST_DELIVERIES: '1' }
    const stuck = await startWorker(redis.url, { concurrency: 2, env })
    const sent = await app.send('test.spin', [ledger, 'stuck'])
    await until('it runs', () => begun(ledger).length === 1)
    const from = performance.now()
    const other = await startWorker(redis.url, { env })
    await until('it is dead', async () => (await app.store.readDeadLetter(sent.id))?.reason === 'DeliveredTooOften', 40)
    // A limit of 1 s, a lease of 10 s, and a sweep: not the visibility timeout of an hour.
    expect((performance.now() - from) / 1000).toBeLessThan(30)
    expect(await stuck.exit(30)).toBe('SIGKILL')
    expect(stuck.lines().at(-1)).toMatchObject({ level: 'fatal', event: 'hard-time-limit' })
    expect(other.lines().filter(({ level }) => level === 'fatal')).toEqual([])
  })
})
