// Chains and chords whose workers are killed at any moment: nothing is lost, and no body of a chord is sent twice.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { TaskApp } from '../../../src/runtime/app.ts'
import { endAll, startWorker, type Process } from '../../fixtures/command.ts'
import { ended, newLedger } from './support/ledger.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'

let redis: RedisServer
let app: TaskApp
let ledger: string

beforeEach(async () => {
  redis = await startRedis()
  app = new TaskApp({ name: 'test', env: { TASKQUEUE_BROKER_URL: redis.url } })
  ledger = newLedger()
})
afterEach(async () => {
  await endAll()
  await app.close()
  await redis.close()
})

const signature = (task: string, ...args: unknown[]) => app.signature(`test.${task}`, args)

describe('workers that are killed', () => {
  it('lose no step of a chain and no body of a chord, and send no body twice', { timeout: 120_000 }, async () => {
    const workers: Process[] = await Promise.all([1, 2, 3].map(() => startWorker(redis.url, { concurrency: 3 })))
    // Chains of chords: each end is a line in the ledger, with a sum that tells which it was.
    const jobs = Array.from({ length: 60 }, (_, n) =>
      app.chain(
        app.chord([signature('add', n, 1), signature('add', n, 2), signature('slow-add', n, 3)], signature('sum')),
        signature('add', 0),
        app.group(signature('add', 0), signature('add', 1000)),
        signature('note-sum', ledger),
      ),
    )
    for (const job of jobs) await job.delay()
    const done = (): number => new Set(ended(ledger).map(({ tag }) => tag)).size
    for (let round = 1; round <= 4; round++) {
      await until('some have ended', () => done() >= Math.min(jobs.length, round * 8))
      const victim = workers.shift()
      victim?.signal('SIGKILL')
      workers.push(await startWorker(redis.url, { concurrency: 3 }))
    }
    await until('all have ended', () => done() === jobs.length, 60)
    await until('nothing is left', async () => (await redis.client.hlen('unacked')) === 0, 30)
    // n+1 + n+2 + n+3 = 3n+6; twice that and 1000.
    const wanted = jobs.map((_, n) => String(2 * (3 * n + 6) + 1000)).sort()
    const lines = ended(ledger)
    expect([...new Set(lines.map(({ tag }) => tag))].sort()).toEqual(wanted)
    // A body that was begun by a killed worker runs again; one that was sent twice would run twice without being redelivered.
    const firsts = lines.filter(({ redelivered }) => !redelivered).map(({ tag }) => tag)
    expect(new Set(firsts).size).toBe(firsts.length)
    expect(await app.store.countDeadLetters()).toBe(0)
  })

  it(
    'leave a chord to another when they die between the claim of its body and its sending',
    { timeout: 60_000 },
    async () => {
      // As a worker leaves it that was killed there: all parts counted, the claim taken, the last task not settled.
      const chord = app.chord([signature('add', 1, 1)], signature('note-sum', ledger))
      await chord.delay()
      const [raw = ''] = await redis.client.lrange('celery', 0, -1)
      const group = (JSON.parse(raw) as { headers: { group: string; id: string } }).headers
      const base = `celery-taskset-meta-${group.group}`
      await redis.client.zadd(`${base}.j`, 0, JSON.stringify([1, group.id, 'SUCCESS', 2]))
      await redis.client.sadd(`${base}.d`, `${group.id}:0`)
      await redis.client.set(`${base}.c`, 'the claim of a dead worker', 'EX', 4)
      await startWorker(redis.url)
      await until('the body ran', () => ended(ledger).length > 0)
      await until('nothing is left', async () => (await redis.client.hlen('unacked')) === 0)
      expect(ended(ledger).map(({ tag }) => tag)).toEqual(['2'])
      expect(await redis.client.get(`${base}.c`)).toBe('done')
    },
  )
})

describe('results on a server of their own', () => {
  it('keep chords there', async () => {
    const other = await startRedis()
    const apart = new TaskApp({
      name: 'test',
      env: { TASKQUEUE_BROKER_URL: redis.url, TASKQUEUE_RESULT_URL: other.url },
    })
    try {
      await startWorker(redis.url, { env: { TASKQUEUE_RESULT_URL: other.url } })
      const add = (a: number, b: number) => apart.signature('test.add', [a, b])
      const sent = await apart
        .chain(apart.chord([add(1, 1), add(2, 2)], apart.signature('test.sum')), apart.signature('test.add', [1]))
        .delay()
      expect(await sent.get({ timeoutSeconds: 20 })).toBe(7)
      expect(await redis.client.keys('celery-task*')).toEqual([])
    } finally {
      await apart.close()
      await other.close()
    }
  })
})
