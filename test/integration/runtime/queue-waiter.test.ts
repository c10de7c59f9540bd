// When an idle consumer begins to wait on its list: at once, or a little later while producers tell of what they push. The clock stands still
// until the test moves it; Redis says who waits.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { QueueWaiter } from '../../../src/runtime/broker/redis/queue-waiter.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { TimerClock } from '../../fixtures/timer-clock.ts'
import { until } from '../../fixtures/until.ts'

let redis: RedisServer
let clock: TimerClock
let waiter: QueueWaiter
let wakes = 0

async function isWaiting(): Promise<boolean> {
  return (await redis.client.info('clients')).includes('blocked_clients:1\r')
}

async function push(): Promise<void> {
  const before = wakes
  await redis.client.lpush('q', 'message')
  await until('the push is noticed', () => wakes > before)
  await redis.client.del('q')
}

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.close())

beforeEach(async () => {
  wakes = 0
  clock = new TimerClock(1_800_000_000_000)
  clock.jump(3_600_000)
  waiter = new QueueWaiter({ url: redis.url, keyPrefix: '' }, 'q', clock, () => wakes++)
  // The connection is opened by the first call.
  await until('it waits', async () => {
    waiter.arm()
    return isWaiting()
  })
})
afterEach(async () => {
  waiter.close()
  await until('nobody waits', async () => !(await isWaiting()))
})

describe('an idle consumer', () => {
  it('waits at once after a push that nobody told of', async () => {
    await push()
    waiter.arm()
    await until('it waits', isWaiting)
    await push()
    expect(wakes).toBe(2)
  })

  it('waits a little later while it is told of pushes, however often it is idle', async () => {
    await push()
    waiter.heard()
    waiter.arm()
    for (let i = 0; i < 10; i++) {
      await clock.advance(10)
      waiter.heard()
      waiter.arm()
    }
    expect(await isWaiting()).toBe(false)
    await clock.advance(15)
    expect(await isWaiting()).toBe(false)
    await clock.advance(10)
    await until('it waits', isWaiting)
    // Of one that was pushed meanwhile it hears at once.
    expect(wakes).toBe(1)
  })

  it('notices what was pushed before it waited', async () => {
    await push()
    waiter.heard()
    waiter.arm()
    await redis.client.lpush('q', 'early')
    await clock.advance(25)
    await until('it is noticed', () => wakes === 2)
    await redis.client.del('q')
  })

  it('waits at once again for ten seconds when one was pushed that nobody told of', async () => {
    await push()
    waiter.heard()
    waiter.arm()
    await clock.advance(150)
    await until('it waits', isWaiting)
    await push()
    await clock.advance(200)
    waiter.heard()
    waiter.arm()
    await until('it waits', isWaiting)
    await push()
    waiter.heard()
    await clock.advance(11_000)
    waiter.heard()
    waiter.arm()
    await clock.advance(10)
    expect(await isWaiting()).toBe(false)
  })

  it('waits at once when it has not been told of anything for a second', async () => {
    await push()
    waiter.heard()
    await clock.advance(1001)
    waiter.arm()
    await until('it waits', isWaiting)
  })
})
