// The command line from outside: what it prints, and what its exit codes mean.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TaskApp } from '../../../src/runtime/app.ts'
import { endAll, launch, run, startWorker, type Output } from '../../fixtures/command.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'

let redis: RedisServer
let folder: string

beforeAll(async () => {
  redis = await startRedis()
  folder = await mkdtemp(join(tmpdir(), 'taskqueue-cli-'))
  await startWorker(redis.url, {
    queues: 'celery,mail',
    concurrency: 3,
    env: { TASKQUEUE_DEAD_MAX: '1000000' },
    args: ['--hostname', 'celery@one'],
  })
})
afterAll(async () => {
  await endAll()
  await redis.close()
  await rm(folder, { recursive: true, force: true })
})

const cli = (...args: string[]): Promise<Output> => run(args, { TASKQUEUE_BROKER_URL: redis.url })
const json = (output: Output): unknown => {
  // One compact line, and nothing else.
  expect(output.stdout.trimEnd()).not.toContain('\n')
  return JSON.parse(output.stdout)
}

describe('send', () => {
  it('prints the id, as text or as JSON', async () => {
    const text = await cli('send', 'test.add', '--args', '[1, 2]')
    expect(text).toMatchObject({ code: 0, stderr: '' })
    expect(text.stdout.trim()).toMatch(/^[0-9a-f-]{36}$/)
    expect(json(await cli('send', 'test.add', '--args', '[1, 2]', '--json'))).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
    })
  })

  it('waits for the result when asked to', async () => {
    expect(
      json(await cli('send', 'test.kwargs', '--kwargs', '{"a": 1}', '--queue', 'mail', '--wait', '10', '--json')),
    ).toMatchObject({ result: { a: 1 } })
    const failed = await cli('send', 'test.permanent', '--wait', '10')
    expect(failed.code).toBe(1)
    expect(failed.stderr).toContain('no card, no money')
  })

  it('takes flags over variables', async () => {
    const output = await run(['send', 'test.add', '--args', '[2, 2]', '--wait', '10', '--broker-url', redis.url], {
      TASKQUEUE_BROKER_URL: 'redis://127.0.0.1:1/0',
    })
    expect(output).toMatchObject({ code: 0, stdout: '4\n' })
  })

  it.each([
    [['send'], 'missing required argument'],
    [['send', 't', '--args', '{"a": 1}'], '--args is a list'],
    [['send', 't', '--args', '[1'], 'not JSON'],
    [['send', 't', '--kwargs', '[]'], '--kwargs is an object'],
    [['send', 't', '--countdown', 'soon'], 'not a number'],
    [['send', 't', '--countdown', '1', '--eta', '2026-12-01T00:00:00Z'], 'EtaAndCountdown'],
    [['send', 't', '--eta', '2026-12-01T00:00:00'], 'EtaWithoutOffset'],
    [['send', 't', '--priority', '11'], 'priority'],
    [['send', 't', '--queue', 'a b'], 'SettingInvalid'],
    [['send', 't', '--args', JSON.stringify(['x'.repeat(70_000)])], 'PayloadTooLarge'],
    [['send', 't', '--broker-url', 'amqp://host'], 'BrokerUrlInvalid'],
    [['send', 't', '--nonsense'], 'unknown option'],
    [['sned'], 'unknown command'],
    [['worker'], 'OptionMissing'],
    [['worker', '--app', 'nowhere.js'], 'AppNotFound'],
    [['worker', '--app', 'package.json', '--concurrency', '0'], 'TASKQUEUE_CONCURRENCY'],
    [['beat'], 'OptionMissing'],
    [['dead', 'drop'], 'OptionMissing'],
    [['dead', 'list', '--limit', '1.5'], 'whole number'],
    [['dead', 'list', '--limit', '-3'], 'whole number'],
    [['dead', 'retry', 'an-id', '--all'], 'OptionMissing'],
  ])('%j is wrong use: exit 2, and why', async (args, why) => {
    const output = await cli(...args)
    expect(output.stderr).toContain(why)
    expect(output.code).toBe(2)
    expect(output.stdout).toBe('')
  })

  it('without a broker fails with 1 and never shows the password', async () => {
    const output = await run(['send', 't'], { TASKQUEUE_BROKER_URL: 'redis://me:hunter2@127.0.0.1:1/0' })
    expect(output.code).toBe(1)
    expect(output.stderr).toContain('BrokerUnreachable')
    expect(output.stderr).not.toContain('hunter2')
  })
})

describe('worker', () => {
  it("says why an app can't be run", async () => {
    const broken = join(folder, 'broken.mjs')
    await writeFile(broken, 'throw new Error("no database here")')
    const empty = join(folder, 'empty.mjs')
    await writeFile(empty, 'export const apps = 1')
    expect(await cli('worker', '--app', broken)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('no database here') as string,
    })
    expect(await cli('worker', '--app', empty)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('it exports apps') as string,
    })
  })
})

describe('flags', () => {
  it('win over what the app says in code', async () => {
    const app = fileURLToPath(new URL('fixtures/app-in-code.ts', import.meta.url))
    const flags = ['--broker-url', redis.url, '--concurrency', '3', '--queues', 'here']
    const worker = launch(['worker', '--app', app, ...flags], {})
    await worker.event('broker-connected')
    expect(await worker.event('worker-started')).toMatchObject({ concurrency: 3, queues: ['here'] })
    await worker.end()
  })
})

describe('dead letters', () => {
  it('that are not there are told of by their ids, and do not keep others from being retried', async () => {
    const app = new TaskApp({ name: 'test', env: { TASKQUEUE_BROKER_URL: redis.url } })
    const { id, publication } = app.prepare('test.add', [1, 2])
    await app.close()
    const letter = { id, task: 'test.add', queue: 'celery', reason: 'RetriesSpent', error: 'x', diedAt: 1 }
    await redis.client.hset('taskqueue:dead:letters', id, JSON.stringify(letter))
    await redis.client.hset('taskqueue:dead:messages', id, publication.raw)
    // One of long ago would be swept by the worker that runs.
    await redis.client.zadd('taskqueue:dead:index', Math.floor(Date.now() / 1000), id)
    const output = await cli('dead', 'retry', 'no-such', id)
    expect(output.code).toBe(1)
    expect(output.stdout).toContain('there is no dead letter no-such')
    expect(output.stdout).toContain('1 sent again')
    await redis.client.del('celery')
  })

  it('by the hundred thousand are dropped', async () => {
    await redis.client.del('taskqueue:dead:letters', 'taskqueue:dead:messages', 'taskqueue:dead:index')
    const ids = Array.from({ length: 200_000 }, (_, n) => `dead-${n}`)
    // Those of long ago are swept by the worker that runs.
    const now = Math.floor(Date.now() / 1000)
    for (let at = 0; at < ids.length; at += 10_000) {
      const page = ids.slice(at, at + 10_000)
      await redis.client.hset('taskqueue:dead:letters', ...page.flatMap((id) => [id, JSON.stringify({ id })]))
      await redis.client.zadd('taskqueue:dead:index', ...page.flatMap((id) => [now, id]))
    }
    expect(await cli('dead', 'drop', '--all')).toMatchObject({ code: 0, stdout: '200000 dropped\n' })
    expect(await redis.client.exists('taskqueue:dead:letters', 'taskqueue:dead:index')).toBe(0)
  })
})

describe('inspect', () => {
  it('asks those who are there', async () => {
    expect(json(await cli('inspect', 'ping', '--json'))).toEqual({ 'celery@one': { ok: 'pong' } })
    expect((await cli('inspect', 'ping')).stdout).toBe('celery@one: pong\n')
    expect(json(await cli('inspect', 'registered', '--json'))).toMatchObject({
      'celery@one': expect.arrayContaining(['test.add']) as string[],
    })
    expect(json(await cli('inspect', 'active_queues', '--json'))).toMatchObject({
      'celery@one': [{ name: 'celery' }, { name: 'mail' }],
    })
    expect(json(await cli('inspect', 'stats', '--json'))).toMatchObject({
      'celery@one': { pool: { 'max-concurrency': 3 }, clock: expect.stringMatching(/^\d+$/) as string },
    })
    expect(json(await cli('inspect', 'reserved', '--json'))).toEqual({ 'celery@one': [] })
  })

  it('shows what runs, and what waits for its time', async () => {
    const ledger = join(folder, 'ledger')
    const running = json(await cli('send', 'test.note', '--args', JSON.stringify([ledger, 'a', 20_000]), '--json')) as {
      id: string
    }
    const later = json(
      await cli('send', 'test.note', '--args', JSON.stringify([ledger, 'b', 0]), '--countdown', '600', '--json'),
    ) as { id: string }
    await until('both are there', async () => {
      const active = json(await cli('inspect', 'active', '--json')) as Record<string, { id: string }[]>
      return active['celery@one']?.some(({ id }) => id === running.id)
    })
    const scheduled = json(await cli('inspect', 'scheduled', '--json')) as Record<
      string,
      { eta: string; request: { id: string } }[]
    >
    expect(scheduled['celery@one']).toMatchObject([{ request: { id: later.id, name: 'test.note' } }])
    expect((await cli('inspect', 'scheduled')).stdout).toContain(later.id)
  })

  it('exits 1 when nobody answers', async () => {
    const output = await cli('inspect', 'ping', '--destination', 'celery@two', '--timeout', '0.3')
    expect(output).toMatchObject({ code: 1, stdout: '' })
    expect(output.stderr).toContain('no worker answered')
  })
})

describe('help', () => {
  it.each([
    [['--help']],
    [['worker', '--help']],
    [['beat', '--help']],
    [['send', '--help']],
    [['dead', '--help']],
    [['inspect', '--help']],
    [['schedule', 'list', '--help']],
  ])('%j teaches and exits 0', async (args) => {
    const output = await cli(...args)
    expect(output).toMatchObject({ code: 0, stderr: '' })
    expect(output.stdout).toContain('Usage: taskqueue')
  })
})
