// The rounds of patrol on a real broker with a real worker, by a clock of the test's own: when a look is made, and what of it is told.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { connectBroker, type BrokerConnection } from '@taskqueue/runtime/broker'
import { systemClock } from '../../../src/operator/clock.ts'
import { Patrols } from '../../../src/operator/inspect/patrols.ts'
import { patrolTarget } from '../../../src/operator/inspect/patroltarget.ts'
import type { TaskQueue } from '../../../src/operator/taskqueue.ts'
import { endAll, startWorker } from '../../fixtures/command.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { taskQueue } from '../../fixtures/taskqueues.ts'

let redis: RedisServer
let connection: BrokerConnection

beforeAll(async () => {
  redis = await startRedis()
  await redis.client.acl('SETUSER', 'worker', 'on', '>secret', '~*', '&*', '+@all')
  const url = redis.url.replace('redis://', 'redis://worker:secret@')
  await startWorker(url, { queues: 'default', args: ['--hostname', 'celery@one'] })
  connection = await connectBroker(redis.url)
})
afterAll(async () => {
  await connection.close()
  await endAll()
  await redis.close()
})

const KEY = 'demo/orders'

function newPatrols(): {
  patrols: Patrols
  told: () => number
  look: (afterMs?: number) => Promise<string[] | undefined>
} {
  let [now, told] = [0, 0]
  const patrols = new Patrols(() => told++, { ...systemClock, monotonic: () => now })
  return {
    patrols,
    told: () => told,
    look: async (afterMs = 30_000) => {
      now += afterMs
      await patrols.visit(KEY, connection, 'redis://broker:6379/0')
      return patrols.latest(KEY)?.findings.map(({ code }) => code)
    },
  }
}

const follow = (patrols: Patrols, spec: Partial<TaskQueue['spec']> = {}): void => {
  patrols.follow(KEY, patrolTarget(taskQueue(spec)))
}

it('what is found is told from the second look on, once, and anew for another spec', async () => {
  const { patrols, told, look } = newPatrols()
  expect(await look()).toBeUndefined()
  follow(patrols)
  expect([await look(), told()]).toEqual([undefined, 0])
  expect([await look(), told()]).toEqual([[], 1])
  // Not before its time, and nothing new.
  const { lookedAt } = [...patrols.figures()][0] ?? {}
  await look(10_000)
  expect([...patrols.figures()][0]?.lookedAt).toBe(lookedAt)
  expect([await look(20_000), told()]).toEqual([[], 1])
  follow(patrols)
  expect(patrols.latest(KEY)).toBeDefined()
  follow(patrols, { suspend: true })
  expect(patrols.latest(KEY)).toBeUndefined()
})

it('that nothing can be seen is told once; what was seen before is forgotten', async () => {
  const { patrols, told, look } = newPatrols()
  follow(patrols)
  await look()
  await look()
  patrols.blind(KEY, 'it is away')
  expect(patrols.latest(KEY)).toMatchObject({ known: false, findings: [{ code: 'Unknown', subject: 'broker' }] })
  patrols.blind(KEY, 'it is away in another way')
  expect(told()).toBe(2)
  expect([await look(), told()]).toEqual([['Unknown'], 2])
  expect([await look(), told()]).toEqual([[], 3])
})

it('what stands still is told by each look, until it is suspended', async () => {
  await redis.client.acl('SETUSER', 'worker', '-lrange', '-ltrim')
  await redis.client.lpush('default', '{}')
  const { patrols, told, look } = newPatrols()
  follow(patrols)
  for (let i = 0; i < 4; i++) expect((await look()) ?? []).toEqual([])
  expect([await look(), told()]).toEqual([['ConsumerStalled'], 2])
  expect([await look(), told()]).toEqual([['ConsumerStalled'], 3])
  expect(patrols.latest(KEY)).toMatchObject({ stalled: [{ queue: 'default', workers: [{ name: 'celery@one' }] }] })
  follow(patrols, { suspend: true })
  for (let i = 0; i < 7; i++) await look()
  expect(patrols.latest(KEY)).toMatchObject({ known: true, findings: [], stalled: [] })
})
