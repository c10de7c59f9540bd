// How publishes of one process go out: when, in which order, and what becomes of those that a close() meets.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { RedisTransport } from '../../../src/runtime/broker/redis/transport.ts'
import type { Publication } from '../../../src/runtime/broker/transport.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'

let redis: RedisServer
let transport: RedisTransport

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.close())
beforeEach(async () => {
  transport = new RedisTransport({ url: redis.url })
  await transport.connect()
})
afterEach(async () => {
  await transport.close()
  await redis.client.flushall()
})

const to = (queue: string, raw: string): Publication[] => [{ queue, priority: 0, raw }]

describe('a publish', () => {
  it('goes out at once when it is alone, also when the one before was waited for just now', async () => {
    const turns = vi.spyOn(globalThis, 'setImmediate')
    for (let i = 0; i < 20; i++) await transport.publish(to('q', `${i}`))
    const waited = turns.mock.calls.length
    turns.mockRestore()
    expect([waited, await redis.client.llen('q')]).toEqual([0, 20])
  })

  it('comes after those before it, whenever they were made and however large they are', async () => {
    const all: Promise<void>[] = []
    for (let i = 0; i < 600; i++) {
      all.push(transport.publish(to('q', `${i}${i % 97 === 0 ? ' '.repeat(600_000) : ''}`)))
      if (i % 5 === 1) await Promise.resolve()
      if (i % 11 === 1) await new Promise((resolve) => setImmediate(resolve))
      if (i % 13 === 1) await all.at(-1)
    }
    await Promise.all(all)
    const list = await redis.client.lrange('q', 0, -1)
    expect(list.map(Number).toReversed()).toEqual(Array.from({ length: 600 }, (_, i) => i))
  })

  it('beyond what may wait is refused, and the others and later ones are not', async () => {
    const all = await Promise.allSettled(Array.from({ length: 50_005 }, () => transport.publish(to('q', 'm'))))
    expect(all.filter(({ status }) => status === 'rejected')).toHaveLength(5)
    await transport.publish(to('q', 'later'))
    expect(await redis.client.llen('q')).toBe(50_001)
  })

  it('that a close meets, or comes after, is refused at once', async () => {
    const from = performance.now()
    const meeting = expect(transport.publish(to('q', 'm'))).rejects.toMatchObject({ code: 'BrokerUnreachable' })
    await transport.close()
    await meeting
    await expect(transport.publish(to('q', 'm'))).rejects.toMatchObject({ code: 'BrokerUnreachable' })
    expect(performance.now() - from).toBeLessThan(2500)
  })
})
