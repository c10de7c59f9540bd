// What patrols of several TaskQueues share on one connection to a real broker: each question is asked once.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { connectBroker, type BrokerConnection } from '@taskqueue/runtime/broker'
import { Surveys } from '../../../src/operator/inspect/surveys.ts'
import { endAll, startWorker } from '../../fixtures/command.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'

let redis: RedisServer
let connection: BrokerConnection

beforeAll(async () => {
  redis = await startRedis()
  connection = await connectBroker(redis.url)
  await startWorker(redis.url, { args: ['--hostname', 'celery@one'] })
})
afterAll(async () => {
  await connection.close()
  await endAll()
  await redis.close()
})

it('asks once for all who come within a while, and a worker for its settings only once', async () => {
  const asked: string[] = []
  // As any worker hears it.
  const listener = redis.client.duplicate()
  await listener.subscribe('/0.celery.pidbox')
  listener.on('message', (_channel: string, raw: string) => {
    const { body = '' } = JSON.parse(raw) as { body?: string }
    asked.push((JSON.parse(Buffer.from(body, 'base64').toString()) as { method: string }).method)
  })
  let now = 0
  const clock = { now: () => new Date(), monotonic: () => now, sleep: () => Promise.resolve() }
  const surveys = new Surveys(clock, 2_000)
  const [first, second] = await Promise.all([surveys.of(connection, 5_000), surveys.of(connection, 5_000)])
  expect(first).toBe(second)
  expect(first.consumers).toMatchObject({ value: [{ name: 'celery@one', busy: 0, visibilitySeconds: 3600 }] })
  now = 5_000
  expect(await surveys.of(connection, 5_000)).toBe(first)
  now = 5_001
  const third = await surveys.of(connection, 5_000)
  expect(third).not.toBe(first)
  expect(third.consumers).toEqual(first.consumers)
  // A worker that came back with others is noticed in the end.
  now = 700_000
  await surveys.of(connection, 5_000)
  listener.disconnect()
  const each = ['active', 'active_queues', 'stats']
  expect(asked.toSorted()).toEqual([...each, ...each, ...each, 'conf', 'conf'].toSorted())
})

it('one that failed is no answer for the next', async () => {
  const clock = { now: () => new Date(), monotonic: () => 0, sleep: () => Promise.resolve() }
  const surveys = new Surveys(clock, 2_000)
  await redis.down()
  await expect(surveys.of(connection, 5_000)).rejects.toThrow()
  await redis.up()
  expect((await surveys.of(connection, 5_000)).safety.persistent).toEqual({ known: true, value: true })
})
