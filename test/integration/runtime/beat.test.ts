// Beat on a real broker: each slot once, whoever fires; what is missed is counted; what is edited is picked up.
import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { decodeEnvelope } from '../../../src/runtime/protocol/envelope.ts'
import type { TaskMessage } from '../../../src/runtime/protocol/task-message.ts'
import { endAll, launch, run, startWorker, type Process } from '../../fixtures/command.ts'
import { published as publishedIn } from '../../fixtures/published.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'

let redis: RedisServer
let folder: string
let schedules: string
let env: Record<string, string>

beforeEach(async () => {
  redis = await startRedis()
  folder = await mkdtemp(join(tmpdir(), 'taskqueue-beat-'))
  schedules = join(folder, 'schedules.yaml')
  env = { TASKQUEUE_BROKER_URL: redis.url }
})
afterEach(async () => {
  await endAll()
  await redis.close()
  await rm(folder, { recursive: true, force: true })
})

const beat = (...args: string[]): Process => launch(['beat', '--schedules', schedules, '--name', 'test', ...args], env)

const every = (seconds: number, more = ''): string =>
  `schedules: [{name: tick, task: test.scheduled, everySeconds: ${seconds}, queue: ticks${more}}]\n`

/** What was published, the oldest first. */
const published = (): Promise<TaskMessage[]> => publishedIn(redis.client, 'ticks')

const slots = async (): Promise<number[]> => (await published()).map(({ scheduledFor }) => scheduledFor ?? NaN)

/** The slots of an interval from the first to the last, each once. */
function eachOnce(found: readonly number[], seconds: number): number[] {
  const [first = NaN] = found
  return found.map((_, i) => first + i * seconds * 1000)
}

describe('beat', () => {
  it("publishes each slot once, on the epoch's multiples, with its slot and an id that follows from it", async () => {
    await writeFile(schedules, every(1))
    const one = beat()
    await until('five slots are published', async () => (await slots()).length >= 5)
    const messages = await published()
    expect(messages.map(({ scheduledFor }) => scheduledFor)).toEqual(
      eachOnce(await slots(), 1).slice(0, messages.length),
    )
    for (const message of messages) expect((message.scheduledFor ?? NaN) % 1000).toBe(0)
    expect(new Set(messages.map(({ id }) => id)).size).toBe(messages.length)
    expect(await one.health('/readyz')).toMatchObject({ status: 200 })
    const told = JSON.parse((await one.health('/readyz')).body) as Record<string, unknown>
    expect(told).toMatchObject({ message: 'holds the lease, 1 schedules', lease: 'leader' })
    expect(told['lastTurnSecondsAgo']).toBeLessThan(5)
    expect(told['lastFiredAt']).toBeGreaterThan(Date.now() - 10_000)
    expect((await one.health('/metrics')).body).toMatch(/taskqueue_schedule_runs_total\{schedule="tick"\} [5-9]/)
    const listed = JSON.parse(
      (await run(['schedule', 'list', '--schedules', schedules, '--name', 'test', '--json'], env)).stdout,
    ) as object[]
    expect(listed).toMatchObject([{ name: 'tick', task: 'test.scheduled', missed: 0 }])
  })

  it('tells the task for which slot it runs', async () => {
    await writeFile(schedules, every(1))
    await startWorker(redis.url, { queues: 'ticks' })
    const one = beat()
    const { taskId: id, scheduledFor: slot } = await one.event('schedule-fired')
    const stored = await until(
      'its result is there',
      async () => (await redis.client.get(`celery-task-meta-${String(id)}`)) ?? undefined,
    )
    expect((JSON.parse(stored) as { result: number }).result).toBe(Date.parse(String(slot)))
  })

  it('started twice fires once; when the holder is killed the other takes over within 10 s and leaves no gap', async () => {
    await writeFile(schedules, every(1, ', catchUp: All, misfireGraceSeconds: 60'))
    const holder = beat()
    await holder.event('beat-leader')
    const other = beat()
    await until('the other stands by', async () => (await other.health('/readyz')).body.includes('stands by'))
    await until('three slots are published', async () => (await slots()).length >= 3)
    holder.signal('SIGKILL')
    const killedAt = Date.now()
    await other.event('beat-leader', 20)
    expect(Date.now() - killedAt).toBeLessThanOrEqual(10_000)
    const until2 = (await slots()).length + 4
    await until('it has gone on', async () => (await slots()).length >= until2)
    const found = await slots()
    expect(found).toEqual(eachOnce(found, 1))
  })

  it('that was stopped and goes on publishes nothing of its past: the token fences it', async () => {
    await writeFile(schedules, every(1, ', catchUp: All, misfireGraceSeconds: 60'))
    const holder = beat()
    await holder.event('beat-leader')
    const other = beat()
    await until('two slots are published', async () => (await slots()).length >= 2)
    holder.signal('SIGSTOP')
    await other.event('beat-leader', 20)
    holder.signal('SIGCONT')
    await until('the first stands by', async () => (await holder.health('/readyz')).body.includes('stands by'))
    const enough = (await slots()).length + 3
    await until('the other has gone on', async () => (await slots()).length >= enough)
    const found = await slots()
    expect(found).toEqual(eachOnce(found, 1))
  })

  it('hands over at once when it is told to end', async () => {
    await writeFile(schedules, every(60))
    const holder = beat()
    await holder.event('beat-leader')
    const other = beat()
    await until('the other stands by', async () => (await other.health('/readyz')).body.includes('stands by'))
    holder.signal('SIGTERM')
    expect(await holder.exit()).toBe(0)
    await other.event('beat-leader', 5)
  })

  it('after downtime counts what it missed and runs the latest', async () => {
    await writeFile(schedules, every(1))
    const first = beat()
    await until('two slots are published', async () => (await slots()).length >= 2)
    first.signal('SIGKILL')
    await first.exit()
    const stood = (await slots()).at(-1) ?? NaN
    await until('three slots have passed', () => Date.now() > stood + 4500)
    const second = beat()
    const missed = await second.event('job-missed', 20)
    expect(missed).toMatchObject({
      level: 'warn',
      schedule: 'tick',
      task: 'test.scheduled',
      scheduledFor: new Date(stood + 1000).toISOString(),
    })
    const next = await until('it has fired', async () => (await slots()).find((slot) => slot > stood))
    const count = (next - stood) / 1000 - 1
    expect(second.lines().filter(({ event }) => event === 'job-missed')).toHaveLength(count)
    expect((await second.health('/metrics')).body).toContain(
      `taskqueue_schedule_missed_total{schedule="tick"} ${count}`,
    )
  })

  it('does not run the day again on a broker that was emptied: the schedule file remembers', async () => {
    await writeFile(schedules, every(1, ', catchUp: All, misfireGraceSeconds: 3600'))
    const file = join(folder, 'beat.json')
    const first = beat('--schedule-file', file)
    await until('three slots are published', async () => (await slots()).length >= 3)
    first.signal('SIGTERM')
    await first.exit()
    const before = await slots()
    await redis.client.flushall()
    const second = beat('--schedule-file', file)
    await second.event('schedule-fired')
    await until('two more are published', async () => (await slots()).length >= 2)
    const all = [...before, ...(await slots())]
    expect(all).toEqual(eachOnce(all, 1))
    expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({
      version: 1,
      cursors: { tick: { fingerprint: 'every 1000' } },
    })
    second.signal('SIGTERM')
    await second.exit()
  })

  it('picks an edit up within 5 s, and keeps the last good set when the edit is bad', async () => {
    await writeFile(schedules, every(3600))
    const one = beat()
    await one.event('beat-leader')
    await writeFile(schedules, 'schedules: [{name: tick, task: t, cron: "61 * * * *"}]')
    const editedAt = Date.now()
    await one.event('schedules-invalid')
    expect(Date.now() - editedAt).toBeLessThanOrEqual(5000)
    const { status, body } = await one.health('/readyz')
    expect(status).toBe(200)
    expect(body).toContain('the last good schedules are kept')
    expect(body).toContain('61 * * * *')
    await writeFile(schedules, every(1))
    await until('the new schedule fires', async () => (await slots()).length > 0)
    expect((await one.health('/readyz')).body).not.toContain('last good')
  })

  it('without schedules that can be used is unready and says why, until they can', async () => {
    await writeFile(schedules, 'schedules: {}')
    const one = beat()
    await one.event('beat-started')
    const { status, body } = await until('the broker has answered', async () => {
      const health = await one.health('/readyz')
      return health.body.includes('not a list') ? health : undefined
    })
    expect({ status, body }).toMatchObject({ status: 503 })
    await writeFile(schedules, every(1))
    await until('it is ready', async () => (await one.health('/readyz')).status === 200)
  })

  it('goes on when the broker was away', async () => {
    await writeFile(schedules, every(1, ', catchUp: All, misfireGraceSeconds: 60'))
    const one = beat()
    await until('two slots are published', async () => (await slots()).length >= 2)
    await redis.down()
    await until('it is unready', async () => (await one.health('/readyz')).status === 503)
    expect(await one.health('/livez')).toMatchObject({ status: 200 })
    await redis.up()
    const enough = (await slots()).length + 3
    await until('it fires again', async () => (await slots()).length >= enough)
    const found = await slots()
    expect(found).toEqual(eachOnce(found, 1))
  })

  it("refuses to start on a schedule file that can't be written, and keeps a corrupt one aside", async () => {
    await writeFile(schedules, every(3600))
    const refused = await run(
      ['beat', '--schedules', schedules, '--schedule-file', join(folder, 'missing', 'beat.json')],
      env,
    )
    expect(refused.code).toBe(1)
    expect(refused.stderr).toContain('ScheduleFileUnwritable')
    const file = join(folder, 'beat.json')
    await writeFile(file, '{"version": 1, "cursors": {"tick": 5}}')
    const { setAside: aside } = await beat('--schedule-file', file).event('schedule-file-corrupt')
    expect(await readFile(String(aside), 'utf8')).toBe('{"version": 1, "cursors": {"tick": 5}}')
  })

  it('that refuses to start ends, also when its connections are there by then', async () => {
    await writeFile(schedules, every(3600))
    const file = join(folder, 'beat.json')
    // It waits for the pipe's other end, and what comes can be neither read nor replaced.
    execFileSync('mkfifo', [file])
    await mkdir(`${file}.new`)
    const one = beat('--schedule-file', file)
    await until('it is connected', async () => String(await redis.client.client('LIST')).includes('name=taskqueue '))
    await writeFile(file, '{}')
    expect(await one.exit()).toBe(1)
  })

  it("goes on with the others when one schedule can't be sent, and counts its slots as missed", async () => {
    const big = JSON.stringify(['x'.repeat(70_000)])
    await writeFile(
      schedules,
      `schedules: [{name: big, task: t, everySeconds: 1, args: ${big}}, {name: tick, task: t, everySeconds: 1, queue: ticks}]`,
    )
    const one = beat()
    const missed = await one.event('job-missed')
    expect(missed).toMatchObject({ level: 'error', schedule: 'big', error: { code: 'PayloadTooLarge' } })
    await until('the other fires', async () => (await slots()).length >= 2)
    expect((await one.health('/metrics')).body).toMatch(/taskqueue_schedule_missed_total\{schedule="big"\} [1-9]/)
  })

  it('sends into the default queue only, in a Test environment', async () => {
    await writeFile(schedules, every(1))
    launch(['beat', '--schedules', schedules, '--environment', 'Test', '--default-queue', 'sandbox'], env)
    await until('a slot is published', async () => (await redis.client.llen('sandbox')) > 0)
    expect(await redis.client.llen('ticks')).toBe(0)
  })
})

describe('a schedule', () => {
  it('is run now, paused and resumed from the command line, and owes nothing for its pause', async () => {
    await writeFile(schedules, every(1))
    const one = beat()
    await until('it fires', async () => (await slots()).length >= 2)
    const command = async (...args: string[]): Promise<string> => {
      const { stdout, stderr, code } = await run(
        ['schedule', ...args, '--schedules', schedules, '--name', 'test', '--json'],
        env,
      )
      expect([args, code, stderr]).toEqual([args, 0, ''])
      return stdout
    }
    expect(JSON.parse(await command('pause', 'tick'))).toEqual({ name: 'tick', paused: true, changed: true })
    await until('beat has heard of it', async () => (await one.health('/readyz')).body.includes('"paused":["tick"]'))
    const paused = (await slots()).length
    expect(JSON.parse(await command('list'))).toMatchObject([{ name: 'tick', paused: true, missed: 0 }])
    const { id } = JSON.parse(await command('run', 'tick')) as { id: string }
    expect((await published()).at(-1)).toMatchObject({ id, task: 'test.scheduled', scheduledFor: undefined })
    await command('resume', 'tick')
    await until('it fires again', async () => (await slots()).length >= paused + 3)
    const all = (await slots()).filter((slot) => !Number.isNaN(slot))
    expect(new Set(all).size).toBe(all.length)
    // The slots of the pause are gone, and none of them is counted as missed.
    expect(all.length).toBeLessThan(((all.at(-1) ?? 0) - (all[0] ?? 0)) / 1000 + 1)
    expect(JSON.parse(await command('list'))).toMatchObject([{ name: 'tick', paused: false, missed: 0 }])
    const wrong = await run(['schedule', 'pause', 'nobody', '--schedules', schedules, '--name', 'test'], env)
    expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining('ScheduleUnknown') as string])
  })

  it('is told to monitors when it is sent', async () => {
    await writeFile(schedules, every(1))
    const heard: string[] = []
    const listener = redis.client.duplicate()
    await listener.subscribe('/0.celeryev/task.sent')
    listener.on('message', (_channel, raw) => heard.push(raw))
    beat()
    await until('task-sent is heard', () => heard.length >= 2)
    listener.disconnect()
    const [first = ''] = heard
    const envelope = decodeEnvelope(first, { maxBodyBytes: 1e6 })
    const event = JSON.parse(envelope.body.toString()) as Record<string, unknown>
    expect(event).toMatchObject({ type: 'task-sent', name: 'test.scheduled', queue: 'ticks', routing_key: 'ticks' })
    expect((await published()).map(({ id }) => id)).toContain(event['uuid'])
  })
})
