// What must hold of delivery, on brokers of all kinds: workers are processes, and they are killed. Each kind has a file of its own beside
// this folder, so that they run side by side.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { TaskApp } from '../../../../src/runtime/app.ts'
import { endAll, startWorker, type Process } from '../../../fixtures/command.ts'
import { begun, ended, newLedger, read } from './ledger.ts'
import { startBroker, type BrokerKind, type BrokerUnderTest } from '../../../fixtures/brokers.ts'
import { until } from '../../../fixtures/until.ts'

/** A send may fail with its code while there is no primary; who must not lose it sends again. */
async function retried<T>(send: () => Promise<T>): Promise<T> {
  return until('it is sent', () => send().catch(() => undefined))
}

const tags = (entries: readonly { tag: string }[]): string[] => entries.map(({ tag }) => tag)

export function deliverySuite(kind: BrokerKind): void {
  describe(`on ${kind}:`, () => {
    let broker: BrokerUnderTest
    let app: TaskApp
    let ledger: string

    beforeAll(async () => {
      broker = await startBroker(kind)
    })
    afterAll(() => broker.close())
    beforeEach(() => {
      app = new TaskApp({ name: 'test', env: broker.env })
      ledger = newLedger()
    })
    afterEach(async () => {
      await endAll()
      await app.close()
      await broker.client().flushall()
    })

    const start = (options: Parameters<typeof startWorker>[1] = {}): Promise<Process> =>
      startWorker(broker.url, { ...options, env: { ...broker.env, ...options.env } })

    /** Nothing is left in anyone's hands. */
    async function settled(queue = 'celery'): Promise<void> {
      await until('nothing is unacked', async () => (await broker.client().hlen('unacked')) === 0)
      expect(await broker.client().zcard('unacked_index')).toBe(0)
      expect(await broker.client().zcard(`taskqueue:leases:${queue}`)).toBe(0)
      expect(await broker.client().llen(queue)).toBe(0)
    }

    describe('SIGKILL', () => {
      it('loses no task, and repeats only those that were under way', { timeout: 120_000 }, async () => {
        const jobs = 400
        const concurrency = 4
        const workers: Process[] = [await start({ concurrency }), await start({ concurrency })]
        await Promise.all(Array.from({ length: jobs }, (_, i) => app.send('test.note', [ledger, `job-${i}`, 30])))
        const kills = 6
        for (let kill = 1; kill <= kills; kill++) {
          await until('more has been done', () => ended(ledger).length >= (jobs * kill) / (kills + 3))
          const victim = workers.shift()
          victim?.signal('SIGKILL')
          workers.push(await start({ concurrency }))
        }
        await until('every job has ended', () => new Set(tags(ended(ledger))).size === jobs, 60)
        await settled()
        const repeated = ended(ledger).length - jobs
        expect(repeated).toBeGreaterThanOrEqual(0)
        expect(repeated).toBeLessThanOrEqual(kills * concurrency)
        // What was lost with its worker was begun twice, and the second time it knew.
        const twice = [...new Set(tags(begun(ledger)))].filter((tag) => begun(ledger, tag).length > 1)
        expect(twice.length).toBeGreaterThan(0)
        for (const tag of twice) expect(begun(ledger, tag).at(-1)?.redelivered).toBe(true)
      })

      it('is made good within 15 s by another worker', async () => {
        const [first] = [await start()]
        await app.send('test.note', [ledger, 'long', 600_000])
        await until('it has begun', () => begun(ledger, 'long').length === 1)
        const second = await start()
        first.signal('SIGKILL')
        const killedAt = Date.now()
        const again = await until('another has begun it', () => begun(ledger, 'long')[1])
        expect(again.pid).toBe(second.pid)
        expect(again.at - killedAt).toBeLessThanOrEqual(15_000)
        expect(again).toMatchObject({ attempt: 1, redelivered: true })
      })

      it('does not lose what is parked', async () => {
        const first = await start()
        const sent = Date.now()
        await app.send('test.note', [ledger, 'later'], { countdown: 3 })
        await until('it is parked', async () => (await broker.client().zcard('taskqueue:parked:celery')) === 1)
        first.signal('SIGKILL')
        await start()
        const [entry] = await until('it has run', () => (ended(ledger).length > 0 ? ended(ledger) : undefined))
        expect(entry?.at ?? 0).toBeGreaterThanOrEqual(sent + 3000)
        await settled()
      })
    })

    describe('an error that nobody catches', () => {
      it('ends the worker with one JSON line, and its task is counted as lost', async () => {
        const worker = await start({ concurrency: 1 })
        await app.send('test.crash')
        expect(await worker.exit()).toBe(70)
        expect(worker.lines().at(-1)).toMatchObject({
          level: 'fatal',
          event: 'uncaught-exception',
          error: { message: 'thrown out of reach', stack: expect.stringContaining('fixtures/app.ts') as string },
        })
        await start({ queues: 'celery,other', concurrency: 1 })
        const lost = await until('it is lost a second time', async () => {
          const [record] = await broker.client().hvals('unacked')
          return record?.includes('"taskqueue-lost":1') ? record : undefined
        })
        expect(JSON.parse(lost)).toMatchObject([{ headers: { task: 'test.crash' } }, '', 'celery'])
      })
    })

    describe('a lease', () => {
      it('outlives a blocked event loop', { timeout: 90_000 }, async () => {
        const blocked = await start({ concurrency: 2 })
        await app.send('test.block', [ledger, 'heavy', 20_000])
        await until('it has begun', () => begun(ledger, 'heavy').length === 1)
        const idle = await start()
        await until('it has ended', () => ended(ledger).length === 1, 60)
        await settled()
        expect(tags(read(ledger))).toEqual(['heavy', 'heavy'])
        expect(
          blocked
            .lines()
            .concat(idle.lines())
            .filter(({ event }) => event === 'lease-lost'),
        ).toEqual([])
      })

      it('that is lost aborts the task, and its outcome is dropped', async () => {
        await start({ concurrency: 1 })
        const sent = await app.send('test.until-aborted', [ledger, 'stolen'])
        await until('it has begun', () => begun(ledger, 'stolen').length === 1)
        // What kombu's sweep does to a record whose visibility timeout is over.
        const [tag] = await broker.client().hkeys('unacked')
        await broker.client().hdel('unacked', tag ?? '')
        await until('it was told', () => ended(ledger).length === 1)
        expect(ended(ledger)[0]?.tag).toBe('stolen:LeaseLost')
        // The worker has gone on, and there is no result of the dropped outcome.
        const next = await app.send('test.add', [1, 2])
        expect(await next.get({ timeoutSeconds: 10 })).toBe(3)
        expect(await sent.state()).toBe('PENDING')
      })
    })

    describe('tasks for now and for later', () => {
      it('are each run once when they come mixed, at all priorities and on several queues', async () => {
        const worker = await start({ queues: 'celery,mail', concurrency: 6 })
        const jobs = Array.from({ length: 300 }, (_, i) => {
          const options = {
            priority: (i * 7) % 10,
            queue: i % 3 === 0 ? 'mail' : 'celery',
            ...(i % 2 === 0 ? { countdown: 0.2 + (i % 5) * 0.3 } : {}),
          }
          return app.send('test.note', [ledger, `job-${i}`, i % 4], options)
        })
        await Promise.all(jobs)
        await until('every job has ended', () => new Set(tags(ended(ledger))).size === 300)
        await settled()
        await settled('mail')
        expect(ended(ledger)).toHaveLength(300)
        expect(begun(ledger).filter(({ redelivered }) => redelivered)).toEqual([])
        expect(worker.lines().filter(({ event }) => event === 'broker-trouble' || event === 'lease-lost')).toEqual([])
      })
    })

    describe('a worker', () => {
      it('never takes more than it has free slots for', async () => {
        await Promise.all(Array.from({ length: 60 }, (_, i) => app.send('test.note', [ledger, `job-${i}`, 40])))
        await start({ concurrency: 3 })
        let most = 0
        await until('all have ended', async () => {
          most = Math.max(most, await broker.client().zcard('taskqueue:leases:celery'))
          return ended(ledger).length === 60
        })
        await settled()
        // Three that run, and those that have ended while their outcome is on its way: never a backlog in memory.
        expect(most).toBeLessThanOrEqual(6)
        let running = 0
        let peak = 0
        for (const { what } of read(ledger)) {
          running += what === 'begin' ? 1 : -1
          peak = Math.max(peak, running)
        }
        expect(peak).toBe(3)
      })

      it('takes urgent tasks first', async () => {
        for (const priority of [9, 6, 3, 0]) {
          for (const i of [1, 2]) await app.send('test.note', [ledger, `${priority}-${i}`], { priority })
        }
        await start({ concurrency: 1 })
        await until('all have ended', () => ended(ledger).length === 8)
        expect(tags(ended(ledger))).toEqual(['0-1', '0-2', '3-1', '3-2', '6-1', '6-2', '9-1', '9-2'])
      })

      it('serves a full queue and a short one alike', async () => {
        await Promise.all(
          Array.from({ length: 100 }, (_, i) => app.send('test.note', [ledger, `full-${i}`, 20], { queue: 'full' })),
        )
        await app.send('test.note', [ledger, 'short', 0], { queue: 'short' })
        await start({ queues: 'full,short', concurrency: 1 })
        await until('the short queue was served', () => tags(ended(ledger)).includes('short'))
        expect(tags(ended(ledger)).indexOf('short')).toBeLessThan(10)
      })

      it('waits for new tasks without asking all the time, and starts them at once', async () => {
        const worker = await start({ queues: 'celery,b,c,d,e' })
        const calls = async (): Promise<number> => {
          const info = await broker.client().info('commandstats')
          return Number(/cmdstat_evalsha:calls=(\d+)/.exec(info)?.[1] ?? 0)
        }
        const before = await calls()
        const from = performance.now()
        await until('two seconds of idling', () => performance.now() - from > 2000)
        // A tick is promote and take, now and then recover: far below ten ticks a second.
        expect(((await calls()) - before) / ((performance.now() - from) / 1000)).toBeLessThan(20)
        const results = await Promise.all(['celery', 'e'].map((queue) => app.send('test.add', [1, 1], { queue })))
        expect(await Promise.all(results.map((result) => result.get({ timeoutSeconds: 10 })))).toEqual([2, 2])
        worker.signal('SIGTERM')
        expect(await worker.exit()).toBe(0)
      })
    })

    if (kind === 'sentinels' || kind === 'a cluster')
      it(
        'goes on with the replica when the primary is killed, and loses nothing that it had',
        { timeout: 120_000 },
        async () => {
          await Promise.all([start({ concurrency: 4 }), start({ concurrency: 4 })])
          await Promise.all(Array.from({ length: 200 }, (_, i) => app.send('test.note', [ledger, `before-${i}`, 100])))
          await until('some have run', () => ended(ledger).length >= 20)
          // What the replica has is what a failover keeps: Redis replicates behind its replies.
          await broker.client().wait(1, 5000)
          await broker.failover?.()
          await Promise.all(
            Array.from({ length: 20 }, (_, i) => retried(() => app.send('test.note', [ledger, `after-${i}`]))),
          )
          await until('every job has ended', () => new Set(tags(ended(ledger))).size === 220, 90)
          await settled()
        },
      )
  })
}
