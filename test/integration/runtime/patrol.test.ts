// `taskqueue patrol` on a real broker with real workers and beats: each finding is brought about, and is gone after the cure.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Finding } from '../../../src/runtime/patrol/finding.ts'
import { endAll, launch, run, startWorker, type Output } from '../../fixtures/command.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'
import { begun, newLedger } from './support/ledger.ts'

let redis: RedisServer
let folder: string

beforeEach(async () => {
  redis = await startRedis()
  folder = await mkdtemp(join(tmpdir(), 'taskqueue-patrol-'))
})
afterEach(async () => {
  await endAll()
  await redis.close()
  await rm(folder, { recursive: true, force: true })
})

const cli = (...args: string[]): Promise<Output> => run(args, { TASKQUEUE_BROKER_URL: redis.url })

interface Told {
  readonly code: number | null
  readonly findings: readonly Finding[]
  /** `<code> <subject>` of each. */
  readonly names: readonly string[]
}

async function patrol(...args: string[]): Promise<Told> {
  const output = await cli('patrol', '--json', '--watch-seconds', '2', '--stalled-seconds', '1', ...args)
  // The client library has a remark of its own where INFO is forbidden.
  if (!output.stderr.startsWith('Skipping the ready check')) expect(output.stderr).toBe('')
  expect(output.stdout.trimEnd()).not.toContain('\n')
  const { needsPerson, findings } = JSON.parse(output.stdout) as { needsPerson: boolean; findings: Finding[] }
  expect(output.code).toBe(needsPerson ? 1 : 0)
  return { code: output.code, findings, names: findings.map(({ code, subject }) => `${code} ${subject}`) }
}

/** Patrols until nothing is found. */
const cured = (...args: string[]): Promise<true> =>
  until('nothing is found any more', async () => (await patrol(...args)).names.length === 0 || undefined)

const send = (...args: string[]): Promise<Output> => cli('send', ...args)

describe('a broker', () => {
  it('that is as it should be, with a worker, is no finding, and exit 0', async () => {
    await startWorker(redis.url)
    await send('test.add', '--args', '[1, 2]', '--wait', '10')
    expect(await patrol()).toEqual({ code: 0, findings: [], names: [] })
    expect(await cli('patrol', '--watch-seconds', '1', '--stalled-seconds', '1')).toMatchObject({
      code: 0,
      stdout: 'nothing found\n',
    })
  })

  it('without persistence', async () => {
    await redis.client.config('SET', 'appendonly', 'no')
    const told = await patrol()
    expect(told.names).toEqual(['BrokerNotPersistent broker'])
    expect(told.findings[0]).toMatchObject({
      severity: 'critical',
      todo: expect.stringContaining('appendonly') as string,
    })
    // Snapshots are persistence too.
    await redis.client.config('SET', 'save', '3600 1')
    await cured()
  })

  it('that evicts keys', async () => {
    await redis.client.config('SET', 'maxmemory-policy', 'allkeys-lru')
    expect((await patrol()).names).toEqual(['BrokerEvictsKeys broker'])
    await redis.client.config('SET', 'maxmemory-policy', 'volatile-ttl')
    expect((await patrol()).findings).toMatchObject([{ code: 'BrokerEvictsKeys', severity: 'warning' }])
    await redis.client.config('SET', 'maxmemory-policy', 'noeviction')
    await cured()
  })

  it('that may not be asked is Unknown, not in order', async () => {
    await redis.client.acl('SETUSER', 'narrow', 'on', '>secret', '~*', '&*', '+@all', '-config', '-info', '-zcard')
    const url = redis.url.replace('redis://', 'redis://narrow:secret@')
    const told = await patrol('--broker-url', url)
    expect(told.code).toBe(1)
    expect(told.names).toEqual(
      expect.arrayContaining(['Unknown eviction policy of the broker', 'Unknown persistence of the broker']),
    )
    expect(told.names).toContain('Unknown dead letters')
    expect(JSON.stringify(told)).not.toContain('secret')
    await redis.client.acl('SETUSER', 'narrow', '+config', '+info', '+zcard')
    expect((await patrol('--broker-url', url)).names).toEqual([])
  })

  it('that is away is Unknown, and says nothing else', async () => {
    const { url } = redis
    await redis.down()
    const told = await patrol('--broker-url', url)
    expect(told).toMatchObject({ code: 1, names: ['Unknown broker'] })
    await redis.up()
    await cured()
  })
})

describe('a queue', () => {
  it('with a backlog and no consumer', async () => {
    await startWorker(redis.url)
    await send('test.add', '--args', '[1, 2]', '--queue', 'mail')
    expect((await patrol('--queues', 'mail')).names).toEqual(['QueueWithoutConsumer queue mail'])
    await startWorker(redis.url, { queues: 'mail', args: ['--hostname', 'celery@mail'] })
    await cured('--queues', 'mail')
  })

  it('whose worker answers and takes nothing', async () => {
    await redis.client.acl('SETUSER', 'worker', 'on', '>secret', '~*', '&*', '+@all')
    await startWorker(redis.url.replace('redis://', 'redis://worker:secret@'), { args: ['--hostname', 'celery@one'] })
    // It may look at everything, and take from no list any more.
    await redis.client.acl('SETUSER', 'worker', '-lrange', '-ltrim')
    await send('test.add', '--args', '[1, 2]')
    const told = await patrol()
    expect(told.names).toEqual(['ConsumerStalled queue celery'])
    expect(told.findings[0]?.saw).toContain('celery@one')
    // In the same words, whatever the figures are by now.
    await send('test.add', '--args', '[1, 2]')
    expect((await patrol()).findings).toEqual(told.findings)
    await redis.client.acl('SETUSER', 'worker', '+lrange', '+ltrim')
    await cured()
  })

  it('whose workers are all busy is not stalled', async () => {
    const ledger = newLedger()
    await startWorker(redis.url, { concurrency: 1 })
    for (const tag of ['a', 'b', 'c']) await send('test.note', '--args', JSON.stringify([ledger, tag, 60_000]))
    await until('one runs', () => begun(ledger).length === 1)
    expect(await patrol()).toMatchObject({ code: 0, names: [] })
  })

  it('without traffic is a notice, and needs nobody', async () => {
    await startWorker(redis.url)
    await send('test.add', '--args', '[1, 2]', '--wait', '10')
    const told = await patrol('--idle-queue-seconds', '2', '--watch-seconds', '4')
    expect(told).toMatchObject({ code: 0, names: ['ConsumerIdle queue celery'] })
    await cured()
  })

  it('whose tasks die', async () => {
    await startWorker(redis.url)
    let watched = false
    const watching = patrol('--watch-seconds', '6').finally(() => (watched = true))
    // Whenever its first look is, more die after it.
    await until('the patrol has ended', async () => {
      await send('test.permanent', '--wait', '10')
      return watched
    })
    expect((await watching).names).toEqual(['DeadLettersGrowing dead letters'])
    // They are there, and no more come.
    await cured()
  })
})

describe('what was taken', () => {
  it('and is older than the visibility timeout, with nobody there', async () => {
    const ledger = newLedger()
    const worker = await startWorker(redis.url)
    await send('test.note', '--args', JSON.stringify([ledger, 'lost', 60_000]))
    await until('it runs', () => begun(ledger).length === 1)
    await worker.end()
    const visible = ['--visibility-timeout', '1']
    const told = await until('it is found', async () => {
      const found = await patrol(...visible)
      return found.names.length > 0 && found
    })
    expect(told.names).toEqual(['UnackedAbandoned unacked'])
    await startWorker(redis.url)
    await until('it runs again', () => begun(ledger).length === 2, 45)
    await cured(...visible)
  })

  it('and is in no index', async () => {
    const ledger = newLedger()
    await startWorker(redis.url)
    await send('test.note', '--args', JSON.stringify([ledger, 'a', 15_000]))
    await until('it runs', () => begun(ledger).length === 1)
    // As an eviction does it.
    await redis.client.del('unacked_index')
    expect((await patrol()).names).toEqual(['UnackedWithoutIndex unacked'])
    await until('it has ended', async () => (await redis.client.hlen('unacked')) === 0)
    await cured()
  })
})

describe('beat', () => {
  const file = (): string => join(folder, 'schedules.yaml')
  const write = (seconds: number): Promise<void> =>
    writeFile(
      file(),
      `schedules: [{name: tick, task: test.add, args: [1, 2], everySeconds: ${seconds}, queue: ticks}]\n`,
    )
  const beat = (name = 'test') =>
    launch(['beat', '--schedules', file(), '--name', name], { TASKQUEUE_BROKER_URL: redis.url })
  const look = ['--schedules', '', '--name', 'test']

  beforeEach(() => {
    look[1] = file()
  })

  it('that has not a schedule, and then has it', async () => {
    await write(3600)
    expect((await patrol(...look)).names).toEqual(['ScheduleMissing schedule tick'])
    beat()
    await cured(...look)
  })

  it('that is gone while a schedule is due', async () => {
    await startWorker(redis.url, { queues: 'ticks' })
    await write(1)
    const one = beat()
    await until('it fires', async () => (await redis.client.hlen('taskqueue:cursors:test')) > 0)
    await one.end()
    const told = await until('it is found', async () => {
      const found = await patrol(...look)
      return found.names.length > 0 && found
    })
    expect(told.names).toEqual(['ScheduleOverdue schedule tick'])
    beat()
    await cured(...look)
  })

  it('whose task is sent and never run', async () => {
    await write(3600)
    const one = beat()
    await until('it has the schedule', async () => (await redis.client.hlen('taskqueue:cursors:test')) > 0)
    await one.end()
    // A short one, so that the test needn't wait for the hour; the last slot sent stays the last.
    await write(1)
    const two = beat()
    await until('it fires', async () => (await redis.client.llen('ticks')) > 0)
    await two.end()
    const told = await patrol(...look)
    expect(told.names).toEqual(
      expect.arrayContaining(['ScheduleNotRun schedule tick', 'QueueWithoutConsumer queue ticks']),
    )
    await startWorker(redis.url, { queues: 'ticks' })
    beat()
    await cured(...look)
  })

  it('of which two fire', async () => {
    await startWorker(redis.url, { queues: 'ticks' })
    await write(3600)
    beat()
    const other = beat('other')
    const watch = [...look, '--watch-seconds', '12']
    const told = await until('both are seen', async () => {
      const found = await patrol(...watch)
      return found.names.includes('TwoBeats beat') && found
    })
    expect(told.findings).toMatchObject([{ code: 'TwoBeats', severity: 'critical' }])
    await other.end()
    await cured(...watch)
  })
})

describe('wrong use ends with 2', () => {
  it.each([
    [['--watch-seconds', 'soon'], 'not a number'],
    [['--watch-seconds', '0'], 'OptionInvalid'],
    [['--watch-seconds', '3', '--stalled-seconds', '4'], 'nobody would see it'],
    [['--broker-url', 'amqp://host'], 'BrokerUrlInvalid'],
    [['--schedules', '/nowhere.yaml'], 'ScheduleInvalid'],
    [['--queues', 'a b'], 'SettingInvalid'],
  ])('%j', async (args, message) => {
    const output = await cli('patrol', ...args)
    expect(output.code).toBe(2)
    expect(output.stderr).toContain(message)
  })
})
