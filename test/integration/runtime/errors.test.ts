// What an app is told of its tasks, and what becomes of errors that nobody caught: real workers, real Redis, real exit codes.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { TaskApp } from '../../../src/runtime/app.ts'
import { endAll, launch, type Process } from '../../fixtures/command.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'
import { lines, type Line } from './support/jsonlines.ts'

const APP = fileURLToPath(new URL('fixtures/reporting-app.ts', import.meta.url))

let redis: RedisServer
let app: TaskApp
let folder: string
let reports: string

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.close())
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'taskqueue-errors-'))
  reports = join(folder, 'reports')
  app = new TaskApp({ name: 'test', env: { TASKQUEUE_BROKER_URL: redis.url } })
})
afterEach(async () => {
  await endAll()
  await app.close()
  await redis.client.flushall()
  await rm(folder, { recursive: true, force: true })
})

async function start(env: Record<string, string> = {}, ...args: string[]): Promise<Process> {
  const worker = launch(['worker', '--app', APP, '--concurrency', '4', ...args], {
    TASKQUEUE_BROKER_URL: redis.url,
    REPORTS: reports,
    ...env,
  })
  await worker.event('broker-connected')
  return worker
}

const told = (name: string): Line[] => lines(reports).filter((line) => line['name'] === name)
const hear = (name: string, count = 1): Promise<Line[]> =>
  until(`${name} is told ${count} times; told is ${JSON.stringify(lines(reports))}`, () => {
    const found = told(name)
    return found.length >= count && found
  })
const idle = (): Promise<true> => until('nothing is unacked', async () => (await redis.client.hlen('unacked')) === 0)
const get = { timeoutSeconds: 15 }

describe.each(['async', 'threads'])('an app in the pool %s is told', (pool) => {
  it('of a failed attempt, of the last one, and of the dead letter, with the stack and without arguments', async () => {
    const worker = await start({}, '--pool', pool)
    const sent = await app.send('r.fail', ['secret'])
    const [dead] = await hear('dead')
    const common = { id: sent.id, task: 'r.fail', rootId: sent.id, queue: 'celery', hasStack: true, isError: true }
    const workerName = expect.stringMatching(/^celery@/) as string
    expect(told('retry')).toEqual([
      expect.objectContaining({
        ...{ ...common, workerName, attempt: 1, errorName: 'TypeError', message: 'attempt 1', willRetry: true },
        countdown: expect.any(Number) as number,
        dueAt: expect.any(String) as string,
      }),
    ])
    expect(told('error')).toEqual([
      expect.objectContaining({ ...common, workerName, attempt: 2, message: 'attempt 2', willRetry: false }),
    ])
    expect(dead).toMatchObject({ ...common, workerName, attempt: 2, reason: 'RetriesSpent', deadLetter: sent.id })
    expect(JSON.stringify(lines(reports))).not.toContain('secret')
    expect(told('captured retry')).toHaveLength(1)
    worker.signal('SIGTERM')
    expect(await worker.exit()).toBe(0)
    expect(told('flushed')).toEqual([{ name: 'flushed', timeoutMs: expect.any(Number) as number }])
  })

  it('of an unhandled rejection as the failure of the task whose it was, which is retried', async () => {
    const worker = await start({}, '--pool', pool)
    const sent = await app.send('r.let-go')
    await expect(sent.get(get)).rejects.toThrow(/RangeError: let go in attempt 2/)
    expect(told('retry')).toMatchObject([{ id: sent.id, errorName: 'RangeError', message: 'let go in attempt 1' }])
    expect(told('error')).toMatchObject([{ id: sent.id, attempt: 2, message: 'let go in attempt 2' }])
    await hear('aborted', 2)
    expect(told('aborted')[0]).toMatchObject({ code: 'UnhandledRejection' })
    expect(await worker.event('unhandled-rejection')).toMatchObject({
      level: 'error',
      taskId: sent.id,
      task: 'r.let-go',
      attempt: 1,
      error: { type: 'RangeError', message: 'let go in attempt 1' },
    })
    const next = await app.send('r.let-go-at-once')
    await expect(next.get(get)).rejects.toThrow(/let go at once/)
    // The worker goes on.
    expect(await (await app.send('r.hold', [1])).get(get)).toBe(false)
    expect(worker.child.exitCode).toBeNull()
    await idle()
  })

  it('nothing of one that comes after the end of its task: it is logged with the task, and the worker goes on', async () => {
    const worker = await start({}, '--pool', pool)
    const sent = await app.send('r.let-go-late')
    expect(await sent.get(get)).toBe('done')
    const line = await worker.event('unhandled-rejection')
    expect(line).toMatchObject({ taskId: sent.id, msg: expect.stringContaining('had ended already') as string })
    expect(await (await app.send('r.hold', [1])).get(get)).toBe(false)
    expect(told('error')).toEqual([])
  })
})

describe('an app is told', () => {
  it('of messages that nobody here can run, and of such that nobody can read', async () => {
    await start()
    const unknown = await app.send('r.unheard-of')
    const [first] = await hear('dead')
    expect(first).toMatchObject({ id: unknown.id, task: 'r.unheard-of', attempt: 1, reason: 'NotRegistered' })
    await redis.client.lpush('celery', 'no message at all')
    const [, second] = await hear('dead', 2)
    expect(second).toMatchObject({
      queue: 'celery',
      reason: 'NotJson',
      deadLetter: expect.any(String) as string,
      isError: true,
    })
    expect(second).not.toHaveProperty('id')
    expect(second).not.toHaveProperty('task')
    const letters = await app.store.listDeadLetters(9)
    expect(letters.map(({ id }) => id)).toContain(second?.['deadLetter'])
    expect(told('error')).toEqual([])
  })

  it('of a task whose worker was killed and that runs again, but not of one that was given back', async () => {
    const first = await start()
    const sent = await app.send('r.hold', [600])
    const given = await app.send('r.hold', [30_000], { queue: 'other' })
    await hear('begun')
    first.signal('SIGKILL')
    const second = await start({}, '--queues', 'celery,other')
    expect(await sent.get({ timeoutSeconds: 40 })).toBe(true)
    expect(told('recovered')).toEqual([
      expect.objectContaining({ id: sent.id, task: 'r.hold', attempt: 1, lostDeliveries: 1, queue: 'celery' }),
    ])
    await until('the other has begun', () => told('begun').some(({ id }) => id === given.id))
    second.signal('SIGTERM')
    second.signal('SIGINT')
    expect(await second.exit()).toBe(0)
    await start({}, '--queues', 'other')
    expect(await given.get(get)).toBe(true)
    expect(told('recovered')).toHaveLength(1)
  })

  it('of slots that were missed while no beat was there', async () => {
    const schedules = join(folder, 'schedules.yaml')
    const slot = { everySeconds: 1, misfireGraceSeconds: 1, catchUp: 'None', queue: 'ticks' }
    await writeFile(schedules, JSON.stringify({ schedules: [{ name: 'tick', task: 'r.ok', ...slot }] }))
    const beat = (): Process =>
      launch(['beat', '--app', APP, '--schedules', schedules, '--name', 'test'], {
        TASKQUEUE_BROKER_URL: redis.url,
        REPORTS: reports,
      })
    const first = beat()
    await first.event('schedule-fired')
    first.signal('SIGKILL')
    await first.exit()
    const before = Date.now()
    await until('some slots have passed', () => Date.now() - before > 4000)
    const second = beat()
    const [missed] = await hear('missed')
    expect(missed).toMatchObject({ schedule: 'tick', task: 'r.ok', count: expect.any(Number) as number })
    expect(missed?.['count']).toBeGreaterThanOrEqual(2)
    expect(missed?.['latenessSeconds']).toBeGreaterThan(1)
    expect(new Date(String(missed?.['scheduledFor'])).getTime() % 1000).toBe(0)
    expect(told('captured missed')).toHaveLength(told('missed').length)
    second.signal('SIGTERM')
    expect(await second.exit()).toBe(0)
    expect(told('flushed')).toHaveLength(1)
  })
})

describe('a listener', () => {
  it('that fails is logged, and changes nothing for the task or the others', async () => {
    const worker = await start({ LISTENER: 'throws' })
    const sent = await app.send('r.fail')
    await expect(sent.get(get)).rejects.toThrow(/attempt 2/)
    await until('both are logged', () => worker.lines().filter(({ event }) => event === 'listener-failed').length === 2)
    expect(worker.lines().filter(({ event }) => event === 'listener-failed')).toMatchObject([
      { level: 'error', error: { message: 'the listener threw' } },
      { level: 'error', error: { message: 'the listener rejected' } },
    ])
    expect(told('dead')).toHaveLength(1)
    expect(await app.store.listDeadLetters(9)).toHaveLength(1)
    await idle()
  })

  it('that takes its time holds up neither the task nor its slot, and is waited for when the worker stops', async () => {
    const worker = await start({ LISTENER: 'slow' })
    const sent = await app.send('r.fail')
    await expect(sent.get(get)).rejects.toThrow(/attempt 2/)
    expect(told('slow listener done')).toEqual([])
    worker.signal('SIGTERM')
    expect(await worker.exit()).toBe(0)
    expect(told('slow listener done')).toHaveLength(1)
    // Flushed once it was done.
    expect(lines(reports).at(-1)).toMatchObject({ name: 'flushed' })
  })

  it('that never ends does not keep the worker from ending', async () => {
    const worker = await start({ LISTENER: 'hangs' })
    await expect((await app.send('r.fail')).get(get)).rejects.toThrow(/attempt 2/)
    worker.signal('SIGTERM')
    expect(await worker.exit(15)).toBe(0)
    expect(worker.lines().filter(({ event }) => event === 'listener-failed')).toHaveLength(1)
  })
})

describe('an unhandled rejection outside of tasks', () => {
  it('ends the worker with 70, in order: what runs may end', async () => {
    const worker = await start()
    const sent = await app.send('r.hold', [1000])
    await hear('begun')
    worker.signal('SIGUSR2')
    expect(await worker.exit()).toBe(70)
    expect(await worker.event('unhandled-rejection')).toMatchObject({
      level: 'fatal',
      error: { message: 'nobody looked, outside of any task' },
    })
    expect(await worker.event('unhandled-rejection')).not.toHaveProperty('taskId')
    expect(await sent.get(get)).toBe(false)
    await idle()
  })

  it('ends beat with 70', async () => {
    const schedules = join(folder, 'schedules.yaml')
    await writeFile(schedules, 'schedules: [{name: tick, task: r.ok, everySeconds: 1}]\n')
    const beat = launch(['beat', '--app', APP, '--schedules', schedules], { TASKQUEUE_BROKER_URL: redis.url })
    await beat.event('beat-leader')
    beat.signal('SIGUSR2')
    expect(await beat.exit()).toBe(70)
    expect(await beat.event('beat-stopped')).toMatchObject({ level: 'info' })
  })
})
