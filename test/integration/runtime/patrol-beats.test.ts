// What `taskqueue patrol` finds of beat and of what was taken: each is brought about for real, and is gone after the cure.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { launch, startWorker } from '../../fixtures/command.ts'
import { until } from '../../fixtures/until.ts'
import { begun, newLedger } from './support/ledger.ts'
import { PatrolScene } from './support/patrolscene.ts'

const scene = new PatrolScene()

describe('what was taken', () => {
  it('and is older than the visibility timeout, with nobody there', async () => {
    const ledger = newLedger()
    const worker = await startWorker(scene.redis.url)
    await scene.send('test.note', '--args', JSON.stringify([ledger, 'lost', 60_000]))
    await until('it runs', () => begun(ledger).length === 1)
    await worker.end()
    const visible = ['--visibility-timeout', '1']
    const told = await until('it is found', async () => {
      const found = await scene.patrol(...visible)
      return found.names.length > 0 && found
    })
    expect(told.names).toEqual(['UnackedAbandoned unacked'])
    await startWorker(scene.redis.url)
    await until('it runs again', () => begun(ledger).length === 2, 45)
    await scene.cured(...visible)
  })

  it('and is in no index', async () => {
    const ledger = newLedger()
    await startWorker(scene.redis.url)
    await scene.send('test.note', '--args', JSON.stringify([ledger, 'a', 15_000]))
    await until('it runs', () => begun(ledger).length === 1)
    // As an eviction does it.
    await scene.redis.client.del('unacked_index')
    expect((await scene.patrol()).names).toEqual(['UnackedWithoutIndex unacked'])
    await until('it has ended', async () => (await scene.redis.client.hlen('unacked')) === 0)
    await scene.cured()
  })
})

describe('beat', () => {
  const file = (): string => join(scene.folder, 'schedules.yaml')
  const write = (seconds: number): Promise<void> =>
    writeFile(
      file(),
      `schedules: [{name: tick, task: test.add, args: [1, 2], everySeconds: ${seconds}, queue: ticks}]\n`,
    )
  const beat = (name = 'test') =>
    launch(['beat', '--schedules', file(), '--name', name], { TASKQUEUE_BROKER_URL: scene.redis.url })
  const look = ['--schedules', '', '--name', 'test']

  beforeEach(() => {
    look[1] = file()
  })

  it('that has not a schedule, and then has it', async () => {
    await write(3600)
    expect((await scene.patrol(...look)).names).toEqual(['ScheduleMissing schedule tick'])
    beat()
    await scene.cured(...look)
  })

  it('that is gone while a schedule is due', async () => {
    await startWorker(scene.redis.url, { queues: 'ticks' })
    await write(1)
    const one = beat()
    await until('it fires', async () => (await scene.redis.client.hlen('taskqueue:cursors:test')) > 0)
    await one.end()
    const told = await until('it is found', async () => {
      const found = await scene.patrol(...look)
      return found.names.length > 0 && found
    })
    expect(told.names).toEqual(['ScheduleOverdue schedule tick'])
    beat()
    await scene.cured(...look)
  })

  it('whose task is sent and never run', async () => {
    await write(3600)
    const one = beat()
    await until('it has the schedule', async () => (await scene.redis.client.hlen('taskqueue:cursors:test')) > 0)
    await one.end()
    // A short one, so that the test needn't wait for the hour; the last slot sent stays the last.
    await write(1)
    const two = beat()
    await until('it fires', async () => (await scene.redis.client.llen('ticks')) > 0)
    await two.end()
    const told = await scene.patrol(...look)
    expect(told.names).toEqual(
      expect.arrayContaining(['ScheduleNotRun schedule tick', 'QueueWithoutConsumer queue ticks']),
    )
    await startWorker(scene.redis.url, { queues: 'ticks' })
    beat()
    await scene.cured(...look)
  })

  it('of which two fire', async () => {
    await startWorker(scene.redis.url, { queues: 'ticks' })
    await write(3600)
    beat()
    const other = beat('other')
    const watch = [...look, '--watch-seconds', '12']
    const told = await until('both are seen', async () => {
      const found = await scene.patrol(...watch)
      return found.names.includes('TwoBeats beat') && found
    })
    expect(told.findings).toMatchObject([{ code: 'TwoBeats', severity: 'critical' }])
    await other.end()
    await scene.cured(...watch)
  })
})
