// What becomes of tasks: results, retries, dead letters, delays, messages that nobody can read.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { TaskApp } from '../../../src/runtime/app.ts'
import { ResultError } from '../../../src/runtime/errors.ts'
import { endAll, run, startWorker, type Process } from '../../fixtures/command.ts'
import { begun, ended, newLedger } from './support/ledger.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'

let redis: RedisServer
let app: TaskApp
let worker: Process

beforeAll(async () => {
  redis = await startRedis()
  app = new TaskApp({ name: 'test', env: { TASKQUEUE_BROKER_URL: redis.url } })
  worker = await startWorker(redis.url)
})
afterAll(async () => {
  await endAll()
  await app.close()
  await redis.close()
})
afterEach(async () => {
  await redis.client.del('taskqueue:dead:letters', 'taskqueue:dead:messages', 'taskqueue:dead:index')
})

const cli = async (
  ...args: string[]
): Promise<{ code: number | null; json: unknown; stdout: string; stderr: string }> => {
  const output = await run(args, { TASKQUEUE_BROKER_URL: redis.url })
  return { ...output, json: args.includes('--json') ? JSON.parse(output.stdout) : undefined }
}

async function failure(sent: { get(options: { timeoutSeconds: number }): Promise<unknown> }): Promise<ResultError> {
  try {
    await sent.get({ timeoutSeconds: 15 })
  } catch (error) {
    if (error instanceof ResultError) return error
    throw error
  }
  throw new Error('it has not failed')
}

describe('a result', () => {
  it('is what the handler returned', async () => {
    expect(await (await app.send('test.add', [40, 2])).get({ timeoutSeconds: 10 })).toBe(42)
    expect(
      await (await app.send('test.kwargs', [], { kwargs: { a: 'ä', b: [null] } })).get({ timeoutSeconds: 10 }),
    ).toEqual({ a: 'ä', b: [null] })
  })

  it('is kept as Celery keeps it, for a day', async () => {
    const sent = await app.send('test.add', [1, 1])
    await sent.get({ timeoutSeconds: 10 })
    const stored = JSON.parse((await redis.client.get(`celery-task-meta-${sent.id}`)) ?? '') as object
    expect(stored).toMatchObject({ status: 'SUCCESS', result: 2, traceback: null, children: [], task_id: sent.id })
    const ttl = await redis.client.ttl(`celery-task-meta-${sent.id}`)
    expect(ttl).toBeGreaterThan(86_000)
    expect(ttl).toBeLessThanOrEqual(86_400)
  })

  it('is not kept when nobody wants it', async () => {
    const sent = await app.send('test.add', [1, 1], { ignoreResult: true })
    await expect(sent.get()).rejects.toMatchObject({ code: 'ResultNotStored' })
    await (await app.send('test.add', [1, 1])).get({ timeoutSeconds: 10 })
    expect(await redis.client.exists(`celery-task-meta-${sent.id}`)).toBe(0)
  })

  it('never takes the place of a SUCCESS', async () => {
    const sent = await app.send('test.add', [1, 1])
    await sent.get({ timeoutSeconds: 10 })
    await app.store.writeResult({ taskId: sent.id, json: '{"status":"FAILURE","result":null}', ttlSeconds: 10 })
    expect(await sent.state()).toBe('SUCCESS')
  })

  it('that does not come in time is a timeout, not an end', async () => {
    const ledger = newLedger()
    const sent = await app.send('test.note', [ledger, 'slow', 1500])
    await expect(sent.get({ timeoutSeconds: 0.2 })).rejects.toMatchObject({ code: 'ResultTimeout' })
    expect(await sent.get({ timeoutSeconds: 10 })).toBe('slow')
  })

  it('is preceded by progress, for whoever looks', async () => {
    const sent = await app.send('test.progress')
    const seen = await until('progress is there', async () => {
      const peeked = await sent.peek()
      return peeked?.status === 'PROGRESS' ? peeked : undefined
    })
    expect(seen.result).toEqual({ done: 1, of: 2 })
    expect(await sent.get({ timeoutSeconds: 10 })).toBe('finished')
  })

  it("that can't be written as JSON is a failure", async () => {
    expect((await failure(await app.send('test.unjson'))).message).toContain('BigInt')
  })
})

describe('results on another server than queues', () => {
  it('are there before the message is settled', async () => {
    const resultUrl = redis.url.replace(/0$/, '5')
    const env = { TASKQUEUE_BROKER_URL: redis.url, TASKQUEUE_RESULT_URL: resultUrl }
    const apart = new TaskApp({ name: 'apart', env })
    const other = await startWorker(redis.url, { queues: 'apart', env })
    try {
      const sent = await apart.send('test.add', [20, 1], { queue: 'apart' })
      expect(await sent.get({ timeoutSeconds: 10 })).toBe(21)
      const failed = await apart.send('test.permanent', [], { queue: 'apart' })
      expect((await failure(failed)).message).toContain('no card')
      const unknown = await apart.send('test.unknown', [], { queue: 'apart' })
      expect((await failure(unknown)).message).toContain('NotRegistered')
      expect(await redis.client.exists(`celery-task-meta-${sent.id}`)).toBe(0)
      await until('nothing is unacked', async () => (await redis.client.hlen('unacked')) === 0)
    } finally {
      await Promise.all([other.end(), apart.close()])
    }
  })
})

describe('a failing task', () => {
  it('runs again after its back-off, under the same id, and its result says RETRY meanwhile', async () => {
    const ledger = newLedger()
    const sent = await app.send('test.flaky', [ledger, 'third-time', 3])
    await until('a retry was stored', async () => (await sent.state()) === 'RETRY')
    expect(await sent.get({ timeoutSeconds: 15 })).toBe(3)
    const attempts = begun(ledger)
    expect(attempts.map(({ attempt }) => attempt)).toEqual([1, 2, 3])
    // Base 0.2 s, doubled each time, at least half of it kept by the jitter.
    expect((attempts[1]?.at ?? 0) - (attempts[0]?.at ?? 0)).toBeGreaterThanOrEqual(100)
    expect((attempts[2]?.at ?? 0) - (attempts[1]?.at ?? 0)).toBeGreaterThanOrEqual(200)
  })

  it('ends among the dead letters when its retries are spent, and says so in one log line', async () => {
    const ledger = newLedger()
    const sent = await app.send('test.flaky', [ledger, 'never', 99])
    const error = await failure(sent)
    expect(error).toMatchObject({ code: 'TaskFailed' })
    expect(error.message).toContain('TypeError: attempt 3 of never')
    expect(error.traceback).toContain('fixtures/app.ts')
    expect(begun(ledger)).toHaveLength(3)

    const mine = worker.lines().filter((line) => line['taskId'] === sent.id)
    expect(mine.map(({ event, level, attempt }) => ({ event, level, attempt }))).toEqual([
      { event: 'task-retried', level: 'warn', attempt: 1 },
      { event: 'task-retried', level: 'warn', attempt: 2 },
      { event: 'task-failed', level: 'error', attempt: 3 },
    ])
    expect(mine[2]).toMatchObject({
      task: 'test.flaky',
      queue: 'celery',
      reason: 'RetriesSpent',
      error: { type: 'TypeError', message: 'attempt 3 of never' },
    })
    expect((mine[2]?.['error'] as { stack: string }).stack).toContain('fixtures/app.ts')

    const list = await cli('dead', 'list', '--json')
    expect(list.code).toBe(1)
    expect(list.json).toMatchObject({
      count: 1,
      letters: [{ id: sent.id, task: 'test.flaky', queue: 'celery', reason: 'RetriesSpent', attempts: 3 }],
    })
    expect((await cli('dead', 'show', sent.id)).stdout).toContain('TypeError: attempt 3 of never')
  })

  it('can be run again from the dead letters, from its first attempt', async () => {
    const ledger = newLedger()
    const sent = await app.send('test.flaky', [ledger, 'revived', 99])
    await failure(sent)
    const retried = await cli('dead', 'retry', sent.id, '--json')
    expect(retried).toMatchObject({ code: 0, json: { retried: [sent.id], refused: [] } })
    await until('it has been tried three times more', () => begun(ledger).length === 6)
    expect(begun(ledger).map(({ attempt }) => attempt)).toEqual([1, 2, 3, 1, 2, 3])
    await until('it is dead again', async () => (await app.store.countDeadLetters()) === 1)
    expect((await cli('dead', 'drop', sent.id, '--json')).json).toEqual({ dropped: 1 })
    expect(await cli('dead', 'list', '--json')).toMatchObject({ code: 0, json: { count: 0, letters: [] } })
  })

  it('is final at once for an error that no retry cures', async () => {
    const sent = await app.send('test.permanent')
    expect((await failure(sent)).message).toContain('no card, no money')
    expect(await app.store.readDeadLetter(sent.id)).toMatchObject({ reason: 'NotRetried', attempts: 1 })
  })

  it('that was acknowledged early still ends among the dead letters, and can be run again', async () => {
    const sent = await app.send('test.early')
    await failure(sent)
    await until('it is dead', async () => (await app.store.countDeadLetters()) === 1)
    expect(await app.store.readDeadLetter(sent.id)).toMatchObject({ reason: 'RetriesSpent', attempts: 2 })
    expect((await cli('dead', 'retry', '--all', '--json')).json).toEqual({ retried: [sent.id], refused: [] })
    await until('it is dead again', async () => (await app.store.countDeadLetters()) === 1)
  })

  it('that no worker knows is told to who waits', async () => {
    const sent = await app.send('test.unknown')
    expect((await failure(sent)).message).toContain('NotRegistered')
    expect(await app.store.readDeadLetter(sent.id)).toMatchObject({ reason: 'NotRegistered', task: 'test.unknown' })
  })
})

describe('time', () => {
  it('keeps a delayed task in the broker, where Python would find it, and not in the worker', async () => {
    const ledger = newLedger()
    const before = Date.now()
    const sent = await app.send('test.note', [ledger, 'later'], { countdown: 2, priority: 5 })
    const [tag, due] = await until('it is parked', async () => {
      const found = await redis.client.zrange('taskqueue:parked:celery', 0, '0', 'WITHSCORES')
      return found.length > 0 ? found : undefined
    })
    expect(Number(due)).toBeGreaterThanOrEqual(before + 2000)
    const record = JSON.parse((await redis.client.hget('unacked', tag ?? '')) ?? '') as [
      { headers: { id: string } },
      string,
      string,
    ]
    expect([record[0].headers.id, record[1], record[2]]).toEqual([sent.id, '', 'celery'])
    expect(Number(await redis.client.zscore('unacked_index', tag ?? ''))).toBe(Math.ceil(Number(due) / 1000))
    expect(await app.transport.depth(['celery'])).toMatchObject({
      queues: [{ queue: 'celery', waiting: 0, inFlight: 0, parked: 1 }],
      foreignUnacked: 0,
    })
    await sent.get({ timeoutSeconds: 10 })
    expect(ended(ledger)[0]?.at ?? 0).toBeGreaterThanOrEqual(before + 2000)
    await until('nothing is left', async () => (await redis.client.hlen('unacked')) === 0)
  })

  it('does not run what has expired, and says so to who waits', async () => {
    const sent = await app.send('test.add', [1, 1], { countdown: 1, expires: 0.5 })
    await expect(sent.get({ timeoutSeconds: 10 })).rejects.toMatchObject({ code: 'TaskRevoked' })
  })
})

describe("a message that can't be understood", () => {
  it('goes to the dead letters byte for byte, with its reason, and the worker goes on', async () => {
    const body = Buffer.from('[[], {}, {}]').toString('base64')
    const envelope = (change: object, headers: object = {}): string =>
      JSON.stringify({
        body,
        'content-type': 'application/json',
        headers: { id: 'x', task: 'test.add', ...headers },
        properties: { body_encoding: 'base64' },
        ...change,
      })
    const cases: [string, string][] = [
      ['NotJson', '\u0080\u0002}q\u0000.'],
      ['NotJson', ''],
      ['NotAnEnvelope', '[]'],
      ['NotBase64', envelope({ body: '%%%' })],
      ['UnknownContentType', envelope({ 'content-type': 'application/x-python-serialize' })],
      ['BodyInvalid', envelope({ body: Buffer.from('{"task": "old"}').toString('base64') })],
      ['MissingHeader', envelope({}, { task: null })],
      ['EtaInvalid', envelope({}, { eta: 'yesterday' })],
      ['EtaInvalid', envelope({}, { eta: '9999-12-31T23:59:59+00:00' })],
    ]
    for (const [i, [reason, message]] of cases.entries()) {
      await redis.client.lpush('celery', message)
      const letter = await until(`${reason} is dead`, async () =>
        (await app.store.listDeadLetters(50)).find((one) => one.reason === reason),
      )
      expect((await app.store.readDeadLetter(letter.id))?.message).toBe(message)
      await app.store.dropDeadLetters([letter.id])
      expect(await (await app.send('test.add', [i, 1])).get({ timeoutSeconds: 10 })).toBe(i + 1)
    }
    expect(worker.lines().filter(({ event }) => event === 'message-rejected')).toHaveLength(cases.length)
  })

  it('is counted, with the time of the newest, for who watches', async () => {
    expect(await app.store.deadLetters()).toEqual({ count: 0, newestAt: null })
    await redis.client.lpush('celery', 'garbage')
    const { count, newestAt } = await until('it is counted', async () => {
      const found = await app.store.deadLetters()
      return found.count > 0 ? found : undefined
    })
    expect(count).toBe(1)
    expect(Math.abs((newestAt ?? 0) - Date.now())).toBeLessThan(10_000)
  })

  it('is refused by "dead retry", which says why', async () => {
    await redis.client.lpush('celery', 'garbage')
    await until('it is dead', async () => (await app.store.countDeadLetters()) === 1)
    const retried = await cli('dead', 'retry', '--all', '--json')
    expect(retried.code).toBe(1)
    expect(retried.json).toMatchObject({
      retried: [],
      refused: [{ error: expect.stringContaining('not JSON') as string }],
    })
  })

  it('because it kills its workers dies as DeliveredTooOften', async () => {
    const { publication, id } = app.prepare('test.add', [1, 1])
    await redis.client.lpush('celery', `{"taskqueue-lost":10,${publication.raw.slice(1)}`)
    await until('it is dead', async () => (await app.store.readDeadLetter(id))?.reason === 'DeliveredTooOften')
  })
})
