// Dead letters as they are kept: none overwrites another, they are bounded by count and age, and can be chosen from.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { TaskApp } from '../../../src/runtime/app.ts'
import { redisKeys } from '../../../src/runtime/broker/redis/keys.ts'
import { trimDeadCall } from '../../../src/runtime/broker/redis/queue-calls.ts'
import { runScript } from '../../../src/runtime/broker/redis/scripts.ts'
import { endAll, run, startWorker, type Process } from '../../fixtures/command.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'

const MOST = 5
const OLDEST_SECONDS = 1000

let redis: RedisServer
let app: TaskApp
let worker: Process

beforeAll(async () => {
  redis = await startRedis()
  app = new TaskApp({ name: 'test', env: { TASKQUEUE_BROKER_URL: redis.url } })
  worker = await startWorker(redis.url, {
    env: { TASKQUEUE_DEAD_MAX: String(MOST), TASKQUEUE_DEAD_MAX_AGE_SECONDS: String(OLDEST_SECONDS) },
  })
})
afterAll(async () => {
  await endAll()
  await app.close()
  await redis.close()
})
afterEach(async () => {
  await app.store.dropDeadLetters((await app.store.listDeadLetters(1000)).map(({ key }) => key))
})

const cli = async (...args: string[]): Promise<{ code: number | null; json: unknown; stdout: string }> => {
  const output = await run(args, { TASKQUEUE_BROKER_URL: redis.url })
  return { ...output, json: args.includes('--json') ? JSON.parse(output.stdout) : undefined }
}

/** Messages of one sender's id that die, each for another reason. */
async function die(id: string, ...names: (string | null)[]): Promise<void> {
  for (const name of names) {
    const body = Buffer.from('[[], {}, {}]').toString('base64')
    const before = await app.store.countDeadLetters()
    const headers = { id, task: name }
    const properties = { body_encoding: 'base64' }
    await redis.client.lpush(
      'celery',
      JSON.stringify({ body, 'content-type': 'application/json', headers, properties }),
    )
    await until('it is dead', async () => (await app.store.countDeadLetters()) === before + 1)
  }
}

describe('letters of one id', () => {
  it('stand beside each other, each with its own message', async () => {
    await die('same', 'test.unknown', null, 'test.other')
    const letters = await app.store.listDeadLetters(10)
    expect(letters.map(({ id }) => id)).toEqual(['same', 'same', 'same'])
    const keys = letters.map(({ key }) => key)
    expect(new Set(keys).size).toBe(3)
    expect(keys).toContain('same')
    const names = await Promise.all(
      keys.map(async (key) => {
        const letter = await app.store.readDeadLetter(key)
        return (JSON.parse(letter?.message ?? '') as { headers: { task: string | null } }).headers.task
      }),
    )
    expect(new Set(names)).toEqual(new Set(['test.unknown', null, 'test.other']))
    const shown = await cli('dead', 'show', 'same')
    expect(shown.stdout).toContain('other letters of this id: ')
    for (const key of keys.filter((one) => one !== 'same')) expect(shown.stdout).toContain(key)
  })

  it('are dropped and sent again one by one, under the id that they all have', async () => {
    await die('twin', 'test.unknown', 'test.unknown')
    const second = (await app.store.listDeadLetters(10)).find(({ key }) => key !== 'twin')?.key ?? ''
    expect((await cli('dead', 'drop', 'twin', '--json')).json).toEqual({ dropped: 1 })
    expect((await cli('dead', 'retry', second, '--json')).json).toEqual({ retried: [second], refused: [] })
    await until('it is dead again, under its id', async () => (await app.store.readDeadLetter('twin')) !== undefined)
    expect(await app.store.countDeadLetters()).toBe(1)
  })
})

describe('bounds', () => {
  it('keep the newest, forget the oldest, and say how many', async () => {
    const keys = ['taskqueue:dead:letters', 'taskqueue:dead:messages', 'taskqueue:dead:index'] as const
    const now = Math.floor(Date.now() / 1000)
    for (let i = 0; i < MOST; i++) {
      const letter = { id: `kept-${i}`, task: null, queue: 'celery', reason: 'NotJson', diedAt: (now - 100 + i) * 1000 }
      await redis.client.hset(keys[0], letter.id, JSON.stringify(letter))
      await redis.client.hset(keys[1], letter.id, 'x')
      await redis.client.zadd(keys[2], now - 100 + i, letter.id)
    }
    await redis.client.lpush('celery', 'garbage')
    await until('the newest is there', async () => (await app.store.listDeadLetters(1))[0]?.reason === 'NotJson')
    await until('the oldest is gone', async () => (await app.store.readDeadLetter('kept-0')) === undefined)
    expect(await app.store.countDeadLetters()).toBe(MOST)
    expect([await redis.client.hlen(keys[0]), await redis.client.hlen(keys[1])]).toEqual([MOST, MOST])
    expect(await worker.event('dead-letters-forgotten')).toMatchObject({ level: 'warn', count: 1 })
  })

  it('of age are kept without a new letter, and the gauge says how many there are', async () => {
    const now = Math.floor(Date.now() / 1000)
    for (const [id, died] of [
      ['old', now - OLDEST_SECONDS - 5],
      ['young', now - OLDEST_SECONDS + 300],
    ] as const) {
      const letter = { id, task: null, queue: 'celery', reason: 'NotJson', diedAt: died * 1000 }
      await redis.client.hset('taskqueue:dead:letters', id, JSON.stringify(letter))
      await redis.client.hset('taskqueue:dead:messages', id, 'x')
      await redis.client.zadd('taskqueue:dead:index', died, id)
    }
    await until('the old one is gone', async () => (await app.store.readDeadLetter('old')) === undefined, 25)
    expect(await app.store.readDeadLetter('young')).toBeDefined()
    const { port } = await worker.event('health-port')
    await until(
      'the gauge has it',
      async () => {
        const metrics = await (await fetch(`http://127.0.0.1:${String(port)}/metrics`)).text()
        return /^taskqueue_dead_letters 1$/m.test(metrics)
      },
      25,
    )
  })

  it('do not hold up a worker when a key is of another type', async () => {
    await redis.client.del('taskqueue:dead:counts')
    await redis.client.set('taskqueue:dead:counts', 'x')
    const call = trimDeadCall(redisKeys('', 0), { most: MOST, seconds: OLDEST_SECONDS })
    expect(await runScript(redis.client, call)).toEqual([0, 0])
    await redis.client.del('taskqueue:dead:counts')
    expect(await runScript(redis.client, call)).toEqual([0, 0])
  })
})

describe('filters', () => {
  it('choose what is listed, sent again and dropped', async () => {
    await die('a', 'test.unknown')
    await die('b', null)
    const listed = await cli('dead', 'list', '--reason', 'MissingHeader', '--json')
    expect(listed.json).toMatchObject({ count: 1, letters: [{ id: 'b', key: 'b' }] })
    expect((await cli('dead', 'list', '--task', 'test.unknown', '--since', '1h', '--json')).json).toMatchObject({
      count: 1,
      letters: [{ id: 'a' }],
    })
    expect(await cli('dead', 'list', '--before', '1h', '--json')).toMatchObject({ code: 0, json: { count: 0 } })
    expect((await cli('dead', 'drop', '--queue', 'other', '--json')).json).toEqual({ dropped: 0 })
    expect((await cli('dead', 'retry', '--task', 'test.unknown', '--json')).json).toEqual({
      retried: ['a'],
      refused: [],
    })
    expect((await cli('dead', 'drop', '--reason', 'MissingHeader', '--json')).json).toEqual({ dropped: 1 })
    await until('only the one that was sent again is left', async () => {
      return (await app.store.listDeadLetters(9)).map(({ key }) => key).join() === 'a'
    })
  })
})
