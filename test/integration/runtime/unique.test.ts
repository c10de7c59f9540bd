// Unique tasks: a second call while the first has not ended sends nothing.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { TaskApp } from '../../../src/runtime/app.ts'
import { startCutProxy } from './support/cut-proxy.ts'
import { sha } from './support/scripts.ts'
import { endAll, startWorker } from '../../fixtures/command.ts'
import { begun, newLedger } from './support/ledger.ts'
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
  app = appAt(redis.url)
  ledger = newLedger()
})
afterEach(async () => {
  await endAll()
  await app.close()
  await redis.client.flushall()
})

function appAt(url: string): TaskApp {
  const made = new TaskApp({ name: 'test', env: { TASKQUEUE_BROKER_URL: url } })
  const unique = { seconds: 60, key: (_ledger: string, tag: string) => tag }
  made.task('test.unique', { unique }, () => undefined)
  made.task('test.brief', { unique: { seconds: 1 } }, () => undefined)
  return made
}

const get = { timeoutSeconds: 20 }

describe('a unique task', () => {
  it('is sent once while it waits and runs, and its callers get one result', async () => {
    const calls = await Promise.all([0, 1, 2].map(() => app.send('test.unique', [ledger, 'a', 500])))
    expect(new Set(calls.map(({ id }) => id)).size).toBe(1)
    expect((await app.send('test.unique', [ledger, 'b'])).id).not.toBe(calls[0]?.id)
    await startWorker(redis.url)
    await until('it runs', () => begun(ledger, 'a').length === 1)
    expect((await app.send('test.unique', [ledger, 'a'])).id).toBe(calls[0]?.id)
    expect(await Promise.all(calls.map((call) => call.get(get)))).toEqual([1, 1, 1])
    expect(begun(ledger, 'a')).toHaveLength(1)
  })

  it('can be sent again once it has succeeded', async () => {
    await startWorker(redis.url)
    const first = await app.send('test.unique', [ledger, 'a'])
    await first.get(get)
    const second = await app.send('test.unique', [ledger, 'a'])
    expect(second.id).not.toBe(first.id)
    await second.get(get)
    expect(begun(ledger, 'a')).toHaveLength(2)
  })

  it('stays unique through its retries, and no longer when it is dead', async () => {
    await startWorker(redis.url)
    const first = await app.send('test.unique', [ledger, 'a', 200, 2])
    await until('it is tried again', () => begun(ledger, 'a').length === 2)
    expect((await app.send('test.unique', [ledger, 'a'])).id).toBe(first.id)
    await expect(first.get(get)).rejects.toMatchObject({ code: 'TaskFailed' })
    expect((await app.send('test.unique', [ledger, 'a'])).id).not.toBe(first.id)
  })

  it('is no longer unique when its time is over, and an end that comes late frees no other', async () => {
    const first = await app.send('test.brief', ['a'])
    const second = await until('its time is over', async () => {
      const call = await app.send('test.brief', ['a'])
      return call.id === first.id ? undefined : call
    })
    await startWorker(redis.url)
    // Nobody knows test.brief there: both die, and the first to die is not the holder.
    await until('both are dead', async () => (await app.store.countDeadLetters()) === 2)
    expect(await redis.client.keys('taskqueue:unique:*')).toEqual([])
    expect(second.id).not.toBe(first.id)
  })

  it('is sent once although the reply to sending it was lost', async () => {
    const proxy = await startCutProxy(redis.port)
    const patient = appAt(proxy.url)
    try {
      await patient.transport.connect()
      const cut = proxy.cutReplyTo(sha('publish-unique'))
      // So that the server has the script.
      await app.send('test.unique', [ledger, 'other'])
      const sent = await patient.send('test.unique', [ledger, 'lost'])
      await cut
      const holders = await redis.client.mget(await redis.client.keys('taskqueue:unique:*'))
      expect(holders).toContain(sent.id)
      expect(await redis.client.llen('celery')).toBe(2)
    } finally {
      await patient.close()
      await proxy.close()
    }
  })
})
