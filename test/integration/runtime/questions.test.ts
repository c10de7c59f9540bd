// What a patrol asks a real broker and its workers, and its bounds: answers that are too many, too large or don't come, queues that are
// too long to be searched.
import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { connectBroker, type BrokerConnection } from '../../../src/runtime/broker/index.ts'
import { askTogether } from '../../../src/runtime/control/ask-workers.ts'
import { decodeControl, encodeReply } from '../../../src/runtime/protocol/control.ts'
import { endAll, startWorker } from '../../fixtures/command.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'

let redis: RedisServer
let store: BrokerConnection
const listeners: Redis[] = []

beforeEach(async () => {
  redis = await startRedis()
  store = await connectBroker(redis.url)
})
afterEach(async () => {
  for (const listener of listeners.splice(0)) listener.disconnect()
  await endAll()
  await store.close()
  await redis.close()
})

/** So many who hear each question and answer, each so long. */
async function answering(workers: number, characters: number): Promise<void> {
  const answer = 'x'.repeat(characters)
  for (let i = 0; i < workers; i++) {
    const listener = new Redis(redis.url)
    listeners.push(listener)
    listener.on('message', (_channel: string, raw: string) => {
      const { ticket, replyTo } = decodeControl(raw) ?? {}
      const { exchange = '', routingKey = '' } = replyTo ?? {}
      const reply = encodeReply(`celery@${i}`, answer, { ticket, clock: 1, exchange, routingKey })
      void redis.client.lpush(`${routingKey}.${exchange}`, reply)
    })
    await listener.subscribe('/0.celery.pidbox')
  }
}

const ask = async (timeoutMs: number) => {
  const began = performance.now()
  const told = await askTogether(store, ['stats', 'active'], { timeoutMs })
  const [stats, active] = [told.answers('stats'), told.answers('active')]
  // Nothing is left behind.
  expect(await redis.client.keys('*reply.celery.pidbox*')).toEqual([])
  return { stats, active, complete: told.complete, ms: performance.now() - began }
}

it('workers are asked everything at once, and waited for until all have answered', async () => {
  expect(await ask(30_000)).toMatchObject({ stats: {}, active: {}, complete: true })
  await startWorker(redis.url, { args: ['--hostname', 'celery@one'] })
  const two = await startWorker(redis.url, { args: ['--hostname', 'celery@two'] })
  const { stats, active, ms } = await ask(30_000)
  expect([Object.keys(stats).sort(), Object.keys(active).sort()]).toEqual([
    ['celery@one', 'celery@two'],
    ['celery@one', 'celery@two'],
  ])
  expect(ms).toBeLessThan(10_000)
  // One that hears it and says nothing is waited for, and no longer than was said.
  two.signal('SIGSTOP')
  const silent = await ask(1_000)
  expect(Object.keys(silent.stats)).toEqual(['celery@one'])
  expect(silent.ms).toBeGreaterThan(900)
})

it('an answer that is too large is left out', async () => {
  await answering(1, 1_000)
  expect(Object.keys((await ask(2_000)).active)).toEqual(['celery@0'])
  listeners.pop()?.disconnect()
  await answering(1, 600_000)
  expect(await ask(2_000)).toMatchObject({ stats: {}, active: {}, complete: true })
})

it('too many of them are not taken, and that is told', async () => {
  await answering(30, 300_000)
  expect((await ask(5_000)).complete).toBe(false)
})

it('a queue is searched for its own messages, as far as it may be, and says when there were more', async () => {
  const message = (id: string, root = id): string => JSON.stringify({ headers: { id, root_id: root } })
  const [oldest, newest, parent] = [randomUUID(), randomUUID(), randomUUID()]
  await redis.client.rpush('mail', message(oldest))
  for (let i = 0; i < 30; i++) await redis.client.lpush('mail', message(randomUUID(), parent))
  await redis.client.lpush('mail', message(newest).replaceAll('":', '": '))
  const search = (most: number) => store.waitingAmong('mail', [oldest, newest, parent], most)
  expect(await search(500)).toEqual({ found: new Set([oldest, newest]), complete: true })
  expect(await search(31)).toEqual({ found: new Set([oldest]), complete: false })
  // A few large ones are enough: Redis does nothing else meanwhile.
  for (let i = 0; i < 40; i++) await redis.client.rpush('mail', 'x'.repeat(400_000))
  expect((await search(500)).complete).toBe(false)
  expect(await store.waitingAmong('none', [oldest], 500)).toEqual({ found: new Set(), complete: true })
})
