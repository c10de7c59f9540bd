// Celery's own tools on Node workers: inspect, control, status, events.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { TaskApp } from '../../src/runtime/app.ts'
import { endAll, run, startWorker } from '../fixtures/command.ts'
import { newLedger, begun } from '../integration/runtime/support/ledger.ts'
import { startRedis, type RedisServer } from '../fixtures/redis-server.ts'
import { until } from '../fixtures/until.ts'
import { CELERY_VERSIONS, Celery, celeryBin } from './support/celery.ts'

describe.each(CELERY_VERSIONS)('Celery %s:', (version) => {
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
    // What a killed worker held would come back in the next test.
    await redis.client.flushall()
  })

  const NAME = ['--hostname', 'celery@node-1'] as const

  /** `celery inspect <method> --json`, by worker. With a destination Celery stops waiting when it has answered. */
  async function inspect(method: string): Promise<Record<string, unknown>> {
    return JSON.parse(
      await celery.command('inspect', method, '--json', '--timeout', '5', '--destination', 'celery@node-1'),
    ) as Record<string, unknown>
  }

  describe('celery inspect', () => {
    it('gets the answers that a Python worker gives', async () => {
      const ledger = newLedger()
      await startWorker(redis.url, { queues: 'celery,mail', concurrency: 3, args: [...NAME] })
      expect(await celery.command('status')).toContain('celery@node-1: OK')
      expect(await inspect('ping')).toEqual({ 'celery@node-1': { ok: 'pong' } })
      expect(await inspect('registered')).toMatchObject({
        'celery@node-1': expect.arrayContaining(['test.add', 'test.note']) as string[],
      })
      const { 'celery@node-1': queues } = (await inspect('active_queues')) as {
        'celery@node-1': { name: string; exchange: { type: string } }[]
      }
      expect(queues.map(({ name, exchange }) => [name, exchange.type])).toEqual([
        ['celery', 'direct'],
        ['mail', 'direct'],
      ])

      const running = await app.send('test.note', [ledger, 'a', 30_000])
      await until('it runs', () => begun(ledger).length === 1)
      const later = await app.send('test.note', [ledger, 'b'], { countdown: 600 })
      await until('it is parked', async () => (await redis.client.zcard('taskqueue:parked:celery')) === 1)
      expect(await inspect('active')).toMatchObject({
        'celery@node-1': [
          { id: running.id, name: 'test.note', args: [ledger, 'a', 30_000], delivery_info: { routing_key: 'celery' } },
        ],
      })
      expect(await inspect('scheduled')).toMatchObject({ 'celery@node-1': [{ request: { id: later.id } }] })
      expect(await inspect('reserved')).toEqual({ 'celery@node-1': [] })
      expect(await inspect('stats')).toMatchObject({
        'celery@node-1': {
          total: {},
          pool: { 'max-concurrency': 3 },
          prefetch_count: 3,
          broker: { transport: 'redis' },
        },
      })
    })

    it('gets the same from Python workers through our command line', async () => {
      await celery.worker('python')
      const { stdout, code } = await run(['inspect', 'ping', '--json'], { TASKQUEUE_BROKER_URL: redis.url })
      expect(code).toBe(0)
      expect(Object.keys(JSON.parse(stdout) as object)[0]).toMatch(/^py-python@/)
      const registered = await run(['inspect', 'registered', '--json'], { TASKQUEUE_BROKER_URL: redis.url })
      expect(registered.stdout).toContain('py.echo')
      await celery.close()
    })
  })

  describe('celery control', () => {
    it('shuts a Node worker down gracefully', async () => {
      const worker = await startWorker(redis.url, { args: [...NAME] })
      // Celery's command line waits for replies, and shutdown has none, from Python workers neither.
      await celery.python("app.control.shutdown(destination=['celery@node-1']); print(json.dumps(True))")
      expect(await worker.exit()).toBe(0)
      expect(worker.lines().at(-1)).toMatchObject({ event: 'worker-stopped' })
    })
  })

  describe('a Python worker that starts beside', () => {
    it('is answered when it says hello', async () => {
      await startWorker(redis.url, { args: [...NAME] })
      const worker = await celery.worker('python')
      expect(worker.output()).toMatch(/mingle: sync (with 1 nodes|complete)/)
      await celery.close()
    })
  })

  describe('events', () => {
    /** What a real Receiver hears until it has heard all the types. */
    const hear = (types: string[], start: string): Promise<unknown> =>
      celery.python(`
import threading, time
wanted = set(${JSON.stringify(types)})
heard = []
with app.connection() as connection:
    def on_event(event):
        heard.append(event)
        receiver.should_stop = not wanted - {event['type'] for event in heard}
    receiver = app.events.Receiver(connection, handlers={'*': on_event})
    def go():
        time.sleep(1)
        ${start}
    threading.Thread(target=go).start()
    receiver.capture(limit=None, timeout=30, wakeup=False)
print(json.dumps(heard))`)

    it('of workers are always on, those of tasks when asked for', async () => {
      await startWorker(redis.url, { args: [...NAME] })
      const quiet = (await hear(['worker-heartbeat'], "app.send_task('test.add', args=[1, 2])")) as {
        type: string
        hostname: string
        freq: number
      }[]
      expect(quiet.find(({ type }) => type === 'worker-heartbeat')).toMatchObject({
        hostname: 'celery@node-1',
        freq: 2,
      })
      expect(quiet.filter(({ type }) => type.startsWith('task-'))).toEqual([])

      await celery.command('control', 'enable_events')
      const loud = (await hear(
        ['task-received', 'task-started', 'task-succeeded', 'task-failed'],
        "app.send_task('test.add', args=[1, 2]); app.send_task('test.permanent')",
      )) as Record<string, unknown>[]
      const find = (type: string): Record<string, unknown> | undefined => loud.find((event) => event['type'] === type)
      expect(find('task-received')).toMatchObject({
        hostname: 'celery@node-1',
        name: 'test.add',
        args: '(1, 2)',
        kwargs: '{}',
        retries: 0,
      })
      expect(find('task-succeeded')).toMatchObject({ result: '3', uuid: find('task-received')?.['uuid'] })
      expect(find('task-failed')).toMatchObject({
        exception: expect.stringContaining('no card') as string,
        traceback: expect.stringContaining('app.ts') as string,
      })
    })

    it('are printed by `celery events --dump`', async () => {
      await startWorker(redis.url, { args: [...NAME, '--events'] })
      const dump = celery.start('events', '--dump')
      await until('it listens', () => dump.output().includes('celery@node-1 '), 30)
      const sent = await app.send('test.add', [1, 2])
      await until('the task is told from beginning to end', () =>
        ['received', 'started', 'succeeded'].every((state) =>
          dump.output().includes(`task ${state}: test.add(${sent.id})`),
        ),
      )
      await celery.close()
    })
  })

  describe('celery purge', () => {
    it('empties the queues, and leaves what Node workers hold', async () => {
      const ledger = newLedger()
      await startWorker(redis.url, { concurrency: 1, args: [...NAME] })
      const running = await app.send('test.note', [ledger, 'running', 8000])
      await until('it runs', () => begun(ledger).length === 1)
      await Promise.all([1, 2, 3].map((i) => app.send('test.note', [ledger, `waits-${i}`])))
      expect(await celery.command('purge', '-f')).toContain('Purged 3 messages')
      expect(await running.get({ timeoutSeconds: 20 })).toBe('running')
      expect(begun(ledger)).toHaveLength(1)
    })
  })
})
