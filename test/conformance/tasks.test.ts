// Tasks and results across languages, with a real Celery on the other side.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TaskApp } from '../../src/runtime/app.ts'
import { endAll, startWorker } from '../fixtures/command.ts'
import { ended, newLedger } from '../integration/runtime/support/ledger.ts'
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
    app = new TaskApp({
      name: 'test',
      env: { TASKQUEUE_BROKER_URL: redis.url, TASKQUEUE_MAX_PAYLOAD_BYTES: '2000000' },
    })
    await Promise.all([startWorker(redis.url, { queues: 'celery' }), celery.worker('python')])
  })
  afterAll(async () => {
    await Promise.all([endAll(), celery.close(), app.close()])
    await redis.close()
  })

  describe('a Python producer and a Node worker', () => {
    it('agree on arguments, keyword arguments and text beyond ASCII', async () => {
      const got = await celery.python(`
a = app.send_task('test.add', args=[40, 2])
b = app.send_task('test.kwargs', kwargs={'name': 'Z\\u00fcrich \\u4e0a\\u6d77', 'deep': [None, True, {'x': 1.5}]})
print(json.dumps([a.get(timeout=20), b.get(timeout=20)]))`)
      expect(got).toEqual([42, { name: 'Zürich 上海', deep: [null, true, { x: 1.5 }] }])
    })

    it('agree on priority, countdown, eta, expiry and compression', async () => {
      const got = await celery.python(`
import datetime, time
now = datetime.datetime.now(datetime.timezone.utc)
started = time.time()
results = [
    app.send_task('test.add', args=[1, 1], priority=7),
    app.send_task('test.add', args=[1, 2], countdown=1),
    app.send_task('test.add', args=[1, 3], eta=now + datetime.timedelta(seconds=1)),
    app.send_task('test.add', args=[1, 4], compression='gzip'),
    app.send_task('test.add', args=['x' * 1000000, 'y'], compression='zlib'),
    app.send_task('test.add', args=['\\u4e0a' * 350000, 'y']),
]
values = [r.get(timeout=20) for r in results]
late = app.send_task('test.add', args=[1, 5], countdown=1, expires=0.5)
try:
    late.get(timeout=20)
    expired = None
except Exception as error:
    expired = type(error).__name__
print(json.dumps([values[:4], len(values[4]), len(values[5]), time.time() - started >= 1, expired, late.state]))`)
      expect(got).toEqual([[2, 3, 4, 5], 1_000_001, 350_001, true, 'TaskRevokedError', 'REVOKED'])
    })

    it('agree on failures: type, message, traceback, and tasks that nobody knows', async () => {
      const got = (await celery.python(`
def failure(name):
    result = app.send_task(name)
    try:
        result.get(timeout=20)
    except Exception as error:
        return [type(error).__name__, str(error), result.state, result.traceback or '']
print(json.dumps([failure('test.permanent'), failure('test.unheard-of')]))`)) as [string, string, string, string][]
      expect(got[0]?.slice(0, 3)).toEqual(['PermanentError', 'no card, no money', 'FAILURE'])
      expect(got[0]?.[3]).toContain('fixtures/app.ts')
      expect(got[1]?.[0]).toBe('NotRegistered')
    })

    it('agree that a result may be unwanted', async () => {
      const got = await celery.python(`
unwanted = app.send_task('test.add', args=[1, 1], ignore_result=True)
app.send_task('test.add', args=[1, 1]).get(timeout=20)
print(json.dumps(unwanted.state))`)
      expect(got).toBe('PENDING')
    })
  })

  describe('what Python puts around a task', () => {
    it('is honoured when it is a group, the end of a chain, or a soft time limit', async () => {
      const ledger = newLedger()
      const got = await celery.python(`
from celery import chain, group
both = group(app.signature('test.add', args=[i, i]) for i in range(3)).apply_async()
last = chain(app.signature('py.echo', args=[1], queue='python'), app.signature('test.add', args=[[], 2], immutable=True)).apply_async()
limited = app.send_task('test.until-aborted', args=['${ledger}', 'limited'], soft_time_limit=1)
print(json.dumps([both.get(timeout=20), last.get(timeout=20), limited.get(timeout=20)]))`)
      expect(got).toEqual([[0, 2, 4], '2', 'ignored'])
      expect(ended(ledger)[0]?.tag).toBe('limited:TimeLimit')
    })

    it('is refused aloud when Node can not follow it: nothing runs half of it in silence', async () => {
      const got = await celery.python(`
from celery import Signature
sent = app.signature('test.add', args=[1, 2], options={'link': [Signature('py.echo', subtask_type='spiral')]}).apply_async()
print(json.dumps(sent.id))`)
      await until('it is dead', async () => {
        return (await app.store.readDeadLetter(got as string))?.reason === 'CanvasInvalid'
      })
    })
  })

  describe('a Node producer and a Python worker', () => {
    const send = (
      name: string,
      args: unknown[] = [],
      options = {},
    ): Promise<{ get(options: { timeoutSeconds: number }): Promise<unknown> }> =>
      app.send(name, args, { queue: 'python', ...options })

    it('agree on arguments, keyword arguments and text beyond ASCII', async () => {
      const kwargs = { name: 'Zürich 上海', nothing: null, list: [1.5, true] }
      expect(await (await send('py.echo', [1, 'ä'], { kwargs })).get({ timeoutSeconds: 20 })).toEqual([
        [1, 'ä'],
        kwargs,
      ])
    })

    it('agree on a body of a megabyte', async () => {
      const [[text]] = (await (await send('py.echo', ['x'.repeat(1_000_000)])).get({ timeoutSeconds: 20 })) as [
        [string],
      ]
      expect(text).toHaveLength(1_000_000)
    })

    it('agree on what a request is', async () => {
      const sent = await app.send('py.request', [], { queue: 'python', priority: 6, headers: { tenant: 'blue' } })
      expect(await sent.get({ timeoutSeconds: 20 })).toMatchObject({
        id: sent.id,
        retries: 0,
        priority: 6,
        redelivered: false,
        root: sent.id,
      })
    })

    it('agree on countdown and expiry', async () => {
      const from = Date.now()
      expect(await (await send('py.echo', ['later'], { countdown: 1.5 })).get({ timeoutSeconds: 20 })).toEqual([
        ['later'],
        {},
      ])
      expect(Date.now() - from).toBeGreaterThanOrEqual(1500)
      await expect(
        (await send('py.echo', [], { countdown: 1, expires: 0.5 })).get({ timeoutSeconds: 20 }),
      ).rejects.toMatchObject({ code: 'TaskRevoked' })
    })

    it('agree on failures and retries', async () => {
      const failed = (await send('py.boom', ['no'])).get({ timeoutSeconds: 20 })
      await expect(failed).rejects.toMatchObject({
        code: 'TaskFailed',
        message: expect.stringContaining('ValueError: no') as string,
        traceback: expect.stringContaining('proj.py') as string,
      })
      expect(await (await send('py.again')).get({ timeoutSeconds: 30 })).toBe(2)
    })
  })

  describe('a message that a Node worker parked and retried', () => {
    it('is one that Python reads: the retry of a Python message keeps what Python put in it', async () => {
      const got = (await celery.python(`
result = app.send_task('test.unjson', headers={'tenant': 'blue'}, retries=0)
try:
    result.get(timeout=20)
except Exception as error:
    print(json.dumps([type(error).__name__, result.id]))`)) as [string, string]
      expect(got[0]).toBe('TypeError')
      const letter = await app.store.readDeadLetter(got[1])
      expect(JSON.parse(letter?.message ?? '')).toMatchObject({
        headers: { lang: 'py', task: 'test.unjson', tenant: 'blue' },
      })
    })
  })

  describe('the states of a task', () => {
    it('are what Python reads, from PENDING to REVOKED, and results tell more where that is asked for', async () => {
      const ledger = newLedger()
      await startWorker(redis.url, {
        queues: 'told',
        env: { TASKQUEUE_TRACK_STARTED: 'true', TASKQUEUE_RESULT_EXTENDED: 'true' },
        args: ['--hostname', 'celery@told'],
      })
      const got = (await celery.python(`
import time
def wait(result, state):
    deadline = time.time() + 20
    while result.state != state:
        assert time.time() < deadline, result.state
        time.sleep(0.02)
    return result.state
def send(name, *args, **o): return app.send_task(name, args=args, queue='told', **o)
states = [app.AsyncResult('nobody-knows-it').state]
slow = send('test.note', '${ledger}', 'slow', 700)
states.append(wait(slow, 'STARTED'))
info = slow.info
states.append(wait(slow, 'SUCCESS'))
progress = send('test.progress')
states += [wait(progress, 'PROGRESS'), progress.info, wait(progress, 'SUCCESS')]
flaky = send('test.flaky', '${ledger}', 'flaky', 9)
states += [wait(flaky, 'RETRY'), wait(flaky, 'FAILURE')]
late = send('test.note', '${ledger}', 'late', countdown=60)
app.control.revoke(late.id)
states.append(wait(late, 'REVOKED'))
meta = [slow.name, slow.args, slow.kwargs, slow.worker, slow.retries, slow.queue]
print(json.dumps([states, info['hostname'], meta, flaky.retries]))`)) as unknown[]
      expect(got).toEqual([
        ['PENDING', 'STARTED', 'SUCCESS', 'PROGRESS', { done: 1, of: 2 }, 'SUCCESS', 'RETRY', 'FAILURE', 'REVOKED'],
        'celery@told',
        ['test.note', [ledger, 'slow', 700], {}, 'celery@told', 0, 'told'],
        2,
      ])
      const mine = await app.send('py.boom', ['no'], { queue: 'python' })
      await expect(mine.get({ timeoutSeconds: 20 })).rejects.toMatchObject({ code: 'TaskFailed' })
      expect(await mine.state()).toBe('FAILURE')
      await app.store.dropDeadLetters((await app.store.listDeadLetters(100)).map(({ id }) => id))
    })
  })
})
