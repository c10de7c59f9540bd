// What `taskqueue patrol` finds at brokers and queues: each is brought about for real, and is gone after the cure.
import { describe, expect, it } from 'vitest'
import { startWorker } from '../../fixtures/command.ts'
import { until } from '../../fixtures/until.ts'
import { begun, newLedger } from './support/ledger.ts'
import { PatrolScene } from './support/patrolscene.ts'

const scene = new PatrolScene()

describe('a broker', () => {
  it('that is as it should be, with a worker, is no finding, and exit 0', async () => {
    await startWorker(scene.redis.url)
    await scene.send('test.add', '--args', '[1, 2]', '--wait', '10')
    expect(await scene.patrol()).toEqual({ code: 0, findings: [], names: [] })
    expect(await scene.cli('patrol', '--watch-seconds', '1', '--stalled-seconds', '1')).toMatchObject({
      code: 0,
      stdout: 'nothing found\n',
    })
  })

  it('without persistence', async () => {
    await scene.redis.client.config('SET', 'appendonly', 'no')
    const told = await scene.patrol()
    expect(told.names).toEqual(['BrokerNotPersistent broker'])
    expect(told.findings[0]).toMatchObject({
      severity: 'critical',
      todo: expect.stringContaining('appendonly') as string,
    })
    // Snapshots are persistence too.
    await scene.redis.client.config('SET', 'save', '3600 1')
    await scene.cured()
  })

  it('that evicts keys', async () => {
    await scene.redis.client.config('SET', 'maxmemory-policy', 'allkeys-lru')
    expect((await scene.patrol()).names).toEqual(['BrokerEvictsKeys broker'])
    await scene.redis.client.config('SET', 'maxmemory-policy', 'volatile-ttl')
    expect((await scene.patrol()).findings).toMatchObject([{ code: 'BrokerEvictsKeys', severity: 'warning' }])
    await scene.redis.client.config('SET', 'maxmemory-policy', 'noeviction')
    await scene.cured()
  })

  it('that may not be asked is Unknown, not in order', async () => {
    await scene.redis.client.acl(
      'SETUSER',
      'narrow',
      'on',
      '>secret',
      '~*',
      '&*',
      '+@all',
      '-config',
      '-info',
      '-zcard',
    )
    const url = scene.redis.url.replace('redis://', 'redis://narrow:secret@')
    const told = await scene.patrol('--broker-url', url)
    expect(told.code).toBe(1)
    expect(told.names).toEqual(
      expect.arrayContaining(['Unknown eviction policy of the broker', 'Unknown persistence of the broker']),
    )
    expect(told.names).toContain('Unknown dead letters')
    expect(JSON.stringify(told)).not.toContain('secret')
    await scene.redis.client.acl('SETUSER', 'narrow', '+config', '+info', '+zcard')
    expect((await scene.patrol('--broker-url', url)).names).toEqual([])
  })

  it('that is away is Unknown, and says nothing else', async () => {
    const { url } = scene.redis
    await scene.redis.down()
    const told = await scene.patrol('--broker-url', url)
    expect(told).toMatchObject({ code: 1, names: ['Unknown broker'] })
    await scene.redis.up()
    await scene.cured()
  })
})

describe('a queue', () => {
  it('with a backlog and no consumer', async () => {
    await startWorker(scene.redis.url)
    await scene.send('test.add', '--args', '[1, 2]', '--queue', 'mail')
    expect((await scene.patrol('--queues', 'mail')).names).toEqual(['QueueWithoutConsumer queue mail'])
    await startWorker(scene.redis.url, { queues: 'mail', args: ['--hostname', 'celery@mail'] })
    await scene.cured('--queues', 'mail')
  })

  it('whose worker answers and takes nothing', async () => {
    await scene.redis.client.acl('SETUSER', 'worker', 'on', '>secret', '~*', '&*', '+@all')
    await startWorker(scene.redis.url.replace('redis://', 'redis://worker:secret@'), {
      args: ['--hostname', 'celery@one'],
    })
    // It may look at everything, and take from no list any more.
    await scene.redis.client.acl('SETUSER', 'worker', '-lrange', '-ltrim')
    await scene.send('test.add', '--args', '[1, 2]')
    const told = await scene.patrol()
    expect(told.names).toEqual(['ConsumerStalled queue celery'])
    expect(told.findings[0]?.saw).toContain('celery@one')
    // In the same words, whatever the figures are by now.
    await scene.send('test.add', '--args', '[1, 2]')
    expect((await scene.patrol()).findings).toEqual(told.findings)
    await scene.redis.client.acl('SETUSER', 'worker', '+lrange', '+ltrim')
    await scene.cured()
  })

  it('whose workers are all busy is not stalled', async () => {
    const ledger = newLedger()
    await startWorker(scene.redis.url, { concurrency: 1 })
    for (const tag of ['a', 'b', 'c']) await scene.send('test.note', '--args', JSON.stringify([ledger, tag, 60_000]))
    await until('one runs', () => begun(ledger).length === 1)
    expect(await scene.patrol()).toMatchObject({ code: 0, names: [] })
  })

  it('without traffic is a notice, and needs nobody', async () => {
    await startWorker(scene.redis.url)
    await scene.send('test.add', '--args', '[1, 2]', '--wait', '10')
    const told = await scene.patrol('--idle-queue-seconds', '2', '--watch-seconds', '4')
    expect(told).toMatchObject({ code: 0, names: ['ConsumerIdle queue celery'] })
    await scene.cured()
  })

  it('whose tasks die', async () => {
    await startWorker(scene.redis.url)
    let watched = false
    const watching = scene.patrol('--watch-seconds', '6').finally(() => (watched = true))
    // Whenever its first look is, more die after it.
    await until('the patrol has ended', async () => {
      await scene.send('test.permanent', '--wait', '10')
      return watched
    })
    expect((await watching).names).toEqual(['DeadLettersGrowing dead letters'])
    // They are there, and no more come.
    await scene.cured()
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
    const output = await scene.cli('patrol', ...args)
    expect(output.code).toBe(2)
    expect(output.stderr).toContain(message)
  })
})
