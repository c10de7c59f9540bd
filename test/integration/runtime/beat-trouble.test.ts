// Beat after a long downtime, beside a schedule that the broker refuses, without its volume, and on cursors that are not its own: the
// lease is kept, the other schedules go on, and what has run does not run again.
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { endAll, launch, run, type Process } from '../../fixtures/command.ts'
import { publishedSlots } from '../../fixtures/published.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'

let redis: RedisServer
let folder: string
let schedules: string

beforeEach(async () => {
  redis = await startRedis()
  folder = await mkdtemp(join(tmpdir(), 'taskqueue-beat-'))
  schedules = join(folder, 'schedules.yaml')
})
afterEach(async () => {
  await endAll()
  await redis.close()
  await rm(folder, { recursive: true, force: true })
})

const beat = (...args: string[]): Process =>
  launch(['beat', '--schedules', schedules, '--name', 'test', ...args], { TASKQUEUE_BROKER_URL: redis.url })

const write = (...lines: string[]): Promise<void> =>
  writeFile(schedules, ['schedules:', ...lines.map((line) => `- {${line}}`), ''].join('\n'))

const slots = (queue: string): Promise<number[]> => publishedSlots(redis.client, queue)

/** The broker remembers this of a schedule. */
const remember = (name: string, slot: number, fingerprint: string): Promise<number> =>
  redis.client.hset('taskqueue:cursors:test', name, `${slot} 0 0 0 ${fingerprint}`)

interface Row {
  readonly name: string
  readonly runs: number
  readonly missed: number
  readonly nextRun: string | null
}

async function listed(name: string): Promise<Row> {
  const args = ['schedule', 'list', '--schedules', schedules, '--name', 'test', '--json']
  const { stdout } = await run(args, { TASKQUEUE_BROKER_URL: redis.url })
  return (JSON.parse(stdout) as Row[]).find((row) => row.name === name) ?? expect.fail(stdout)
}

const readyz = async (one: Process): Promise<string> => (await one.health('/readyz')).body

describe('a beat that was down for long', () => {
  it('counts the slots of each schedule in parts, keeps its lease and lets others fire meanwhile', async () => {
    const [many, days] = [25, 5]
    const names = Array.from({ length: many }, (_, i) => `s${i}`)
    await write(
      ...names.map((name) => `name: ${name}, task: t, cron: "* * * * *", timeZone: Europe/Berlin, queue: q`),
      'name: tick, task: t, everySeconds: 1, queue: ticks, catchUp: None, misfireGraceSeconds: 3',
    )
    const stood = Math.floor(Date.now() / 60_000) * 60_000 - days * 86_400_000
    for (const name of names) await remember(name, stood, 'cron * * * * * Europe/Berlin')
    const one = beat()
    // Not filled in afterwards: a slot that is late by more than 3 s is not run.
    const meanwhile = await until('others fire while it catches up', async () => {
      const ticks = await slots('ticks')
      return ticks.length >= 2 && (await redis.client.llen('q')) < many ? ticks : undefined
    })
    expect(new Set(meanwhile).size).toBe(meanwhile.length)
    await until('all have caught up', async () => (await redis.client.llen('q')) >= many, 90)
    one.signal('SIGTERM')
    await one.exit()
    // The lease has never been lost.
    expect(one.lines().filter(({ event }) => event === 'beat-leader' || event === 'beat-standby')).toHaveLength(1)
    for (const name of ['s0', `s${many - 1}`]) {
      const [slot, , runs, missed] = (await redis.client.hget('taskqueue:cursors:test', name))?.split(' ') ?? []
      expect(Number(runs) + Number(missed)).toBe((Number(slot) - stood) / 60_000)
    }
  }, 150_000)

  it('runs what it owes without keeping others waiting', async () => {
    const owed = 20_000
    await write(
      'name: all, task: t, everySeconds: 1, queue: all, catchUp: All, misfireGraceSeconds: 86400',
      'name: none, task: t, everySeconds: 1, queue: none, catchUp: None, misfireGraceSeconds: 3',
    )
    const stood = Math.floor(Date.now() / 1000 - owed) * 1000
    await remember('all', stood, 'every 1000')
    const one = beat()
    const during = await until('the other goes on meanwhile', async () => {
      const others = await slots('none')
      return others.length >= 2 && (await redis.client.llen('all')) < owed ? others : undefined
    })
    await until('what is owed has run', async () => (await redis.client.llen('all')) > owed, 60)
    const found = await slots('all')
    expect(found).toEqual(found.map((_, i) => stood + (i + 1) * 1000))
    one.signal('SIGTERM')
    await one.exit()
    // What was not run, on a machine that stood still for a while, is told.
    const missed = one.lines().flatMap((line) => (line['event'] === 'job-missed' ? [line['scheduledFor']] : []))
    const [first = NaN] = during
    const others = await slots('none')
    for (let slot = first; slot <= (others.at(-1) ?? NaN); slot += 1000)
      expect(others.includes(slot) || missed.includes(new Date(slot).toISOString())).toBe(true)
    expect(one.lines().filter(({ event }) => event === 'beat-leader' || event === 'beat-standby')).toHaveLength(1)
  })
})

describe('a schedule', () => {
  it('that the broker refuses costs the others nothing, and readiness says which it is until it is right', async () => {
    const names = Array.from({ length: 150 }, (_, i) => `s${i}`)
    await redis.client.set('cache', 'not a list')
    await write(
      ...names.map((name) => `name: ${name}, task: t, everySeconds: 1, queue: ${name}, catchUp: All`),
      'name: bad, task: t, everySeconds: 1, queue: cache',
    )
    const one = beat()
    expect(await one.event('schedule-failed')).toMatchObject({ schedule: 'bad', error: { code: 'BrokerRefused' } })
    await until('each of the others fires', async () => {
      const found = await Promise.all(names.map((name) => redis.client.llen(name)))
      return found.every((length) => length >= 3)
    })
    expect(await readyz(one)).toMatch(/schedule bad: .*WRONGTYPE.*name the queue otherwise/)
    await redis.client.del('cache')
    await until('it fires', async () => (await redis.client.llen('cache')) > 0)
    await until('that is over', async () => !(await readyz(one)).includes('schedule bad'))
  })

  it('that is a date runs once, though the file is half written for a moment or the schedule is gone for a while', async () => {
    const launchAt = new Date(Math.floor(Date.now() / 1000) * 1000 + 3000).toISOString()
    const other = 'name: other, task: t, everySeconds: 1, queue: other'
    const date = `name: launch, task: t, at: "${launchAt}", queue: dates`
    await write(date, other)
    const one = beat('--schedule-file', join(folder, 'beat.json'))
    await until('the date has run', async () => (await slots('dates')).length === 1)
    const fires = async (): Promise<void> => {
      const enough = (await slots('other')).length + 3
      await until('the other goes on', async () => (await slots('other')).length >= enough)
    }
    const loaded = (times: number): Promise<unknown> =>
      until('it has read that', () => one.lines().filter(({ event }) => event === 'schedules-loaded').length >= times)
    await writeFile(schedules, '')
    expect(String((await one.event('schedules-invalid'))['reason'])).toContain('says that there are none')
    await write(date, other)
    await loaded(2)
    await fires()
    await write(other)
    await loaded(3)
    await write(date, other)
    await loaded(4)
    await fires()
    expect(await slots('dates')).toEqual([Date.parse(launchAt)])
    expect(await listed('launch')).toMatchObject({ runs: 1, missed: 0 })
    // Under another trigger its past is another's; whether the date has run is not known any more, so it is missed.
    await write('name: launch, task: t, everySeconds: 1, queue: dates', other)
    await loaded(5)
    await until('it fires as an interval', async () => (await slots('dates')).length >= 2)
    await write(date, other)
    await loaded(6)
    expect(await one.event('job-missed')).toMatchObject({ schedule: 'launch', scheduledFor: launchAt })
    expect((await slots('dates')).filter((slot) => slot === Date.parse(launchAt))).toHaveLength(1)
  })
})

describe('the schedule file', () => {
  // Twelve hours from now, so that its slot doesn't come while the test runs.
  const hour = (new Date().getUTCHours() + 12) % 24
  const daily = `name: daily, task: t, cron: "0 ${hour} * * *", queue: q, misfireGraceSeconds: 86400`
  const today = Math.floor(Date.now() / 86_400_000) * 86_400_000 + hour * 3_600_000
  const last = today > Date.now() ? today - 86_400_000 : today
  const fingerprint = `cron 0 ${hour} * * * UTC`
  const kept = (name: string) => async (): Promise<number | undefined> => {
    const file = JSON.parse(await readFile(join(folder, 'beat.json'), 'utf8')) as {
      cursors: Record<string, { slot: number }>
    }
    return file.cursors[name]?.slot
  }

  it("takes over what the broker knows, so that a take-over or a kill before it was written doesn't run the day again", async () => {
    await write(daily)
    // The last one was fired by a beat on another volume; the files of these two know the one before.
    await remember('daily', last, fingerprint)
    const file = join(folder, 'beat.json')
    const before = { slot: last - 86_400_000, firedAt: null, runs: 1, missed: 0, fingerprint }
    for (const one of [file, `${file}.two`])
      await writeFile(one, JSON.stringify({ version: 1, cursors: { daily: before } }))
    const one = beat('--schedule-file', file)
    await one.event('beat-leader')
    await until('the file knows', async () => (await kept('daily')()) === last)
    const two = beat('--schedule-file', `${file}.two`)
    await until('the other stands by', async () => (await readyz(two)).includes('stands by'))
    await until('its file knows as well', async () => (await readFile(`${file}.two`, 'utf8')).includes(String(last)))
    two.signal('SIGKILL')
    one.signal('SIGKILL')
    await Promise.all([one.exit(), two.exit()])
    await redis.client.flushall()
    const again = beat('--schedule-file', `${file}.two`)
    await again.event('beat-leader')
    await until('the broker knows again', async () => (await readyz(again)).includes('holds the lease'))
    await write(daily, 'name: tick, task: t, everySeconds: 1, queue: ticks')
    await until('others fire', async () => (await slots('ticks')).length >= 1)
    expect(await slots('q')).toEqual([])
  })

  it('that can not be written while beat runs is told, and beat goes on', async () => {
    const volume = join(folder, 'volume')
    await mkdir(volume)
    await write('name: tick, task: t, everySeconds: 1, queue: ticks')
    const one = beat('--schedule-file', join(volume, 'beat.json'))
    await until('it fires', async () => (await slots('ticks')).length >= 1)
    await rm(volume, { recursive: true })
    const body = await until('that is told', async () =>
      [await readyz(one)].find((text) => text.includes("can't be written")),
    )
    const { ok, scheduleFileProblem } = JSON.parse(body) as { ok: boolean; scheduleFileProblem: string | null }
    expect({ ok, scheduleFileProblem }).toEqual({
      ok: true,
      scheduleFileProblem: expect.stringContaining('beat.json') as string,
    })
    const enough = (await slots('ticks')).length + 2
    await until('it goes on', async () => (await slots('ticks')).length >= enough)
    await mkdir(volume)
    await until('that is over', async () => !(await readyz(one)).includes("can't be written"))
  })

  it('whose cursor lies far in the future is not believed, and one of the broker is told of', async () => {
    const ahead = Math.floor(Date.now() / 1000) * 1000 + 365 * 86_400_000
    const file = join(folder, 'beat.json')
    const known = { slot: ahead, firedAt: ahead, runs: 1, missed: 0, fingerprint: 'every 1000' }
    await writeFile(file, JSON.stringify({ version: 1, cursors: { tick: known } }))
    await remember('silent', ahead, 'every 2000')
    await write(
      'name: tick, task: t, everySeconds: 1, queue: ticks',
      'name: silent, task: t, everySeconds: 2, queue: silent',
    )
    const one = beat('--schedule-file', file)
    expect(await one.event('schedule-file-ahead')).toMatchObject({ schedule: 'tick', level: 'error' })
    await until('it fires', async () => (await slots('ticks')).length >= 2)
    expect(await one.event('cursor-ahead')).toMatchObject({ schedule: 'silent' })
    expect(await readyz(one)).toMatch(/schedule silent: its last slot, \S+Z, lies ahead/)
    expect(await slots('silent')).toEqual([])
    expect(Date.parse((await listed('silent')).nextRun ?? '')).toBeGreaterThan(ahead)
  })

  it('is not believed about a schedule that was gone while the broker went on, nor against what the broker says itself', async () => {
    const file = join(folder, 'beat.json')
    const now = Math.floor(Date.now() / 1000) * 1000
    const old = { firedAt: null, runs: 1, missed: 0, fingerprint: 'every 1000' }
    const cursors = { back: { ...old, slot: now - 600_000 }, tick: { ...old, slot: now + 365 * 86_400_000 } }
    await writeFile(file, JSON.stringify({ version: 1, cursors }))
    await remember('tick', now, 'every 1000')
    await write(
      'name: tick, task: t, everySeconds: 1, queue: ticks',
      'name: back, task: t, everySeconds: 1, queue: back, catchUp: All, misfireGraceSeconds: 3600',
    )
    const one = beat('--schedule-file', file)
    expect(await one.event('schedule-file-ahead')).toMatchObject({ schedule: 'tick' })
    await until('both fire', async () => (await slots('ticks')).length >= 2 && (await slots('back')).length >= 2)
    expect((await slots('back'))[0]).toBeGreaterThan(now)
  })
})

describe('a broker that refuses writes for a while', () => {
  it('is told once and not by each schedule, and each slot is published once in the end', async () => {
    await write(
      ...Array.from({ length: 20 }, (_, i) => `name: s${i}, task: t, everySeconds: 1, queue: s${i}, catchUp: All`),
    )
    const one = beat()
    await until('it fires', async () => (await slots('s0')).length >= 2)
    await redis.client.config('SET', 'min-replicas-to-write', '1')
    expect(await one.event('beat-trouble')).toMatchObject({ error: { code: 'BrokerNotWritable' } })
    await until('it is unready', async () => (await one.health('/readyz')).status === 503)
    const stood = Date.now()
    await until('some slots have passed', () => Date.now() > stood + 3000)
    await redis.client.config('SET', 'min-replicas-to-write', '0')
    const enough = (await slots('s0')).length + 5
    await until('it goes on', async () => (await slots('s0')).length >= enough)
    await one.event('beat-recovered')
    const found = await slots('s0')
    expect(found).toEqual(found.map((_, i) => (found[0] ?? NaN) + i * 1000))
    const count = (event: string): number => one.lines().filter((line) => line['event'] === event).length
    expect([count('beat-trouble'), count('beat-recovered'), count('schedule-failed')]).toEqual([1, 1, 0])
  })

  it('of cursors only, publishes nothing that it could not take note of', async () => {
    await redis.client.acl('SETUSER', 'beat', 'on', '>x', '~*', '&*', '+@all', '-hset')
    await write('name: tick, task: t, everySeconds: 1, queue: ticks')
    const url = redis.url.replace('redis://', 'redis://beat:x@')
    const one = launch(['beat', '--schedules', schedules, '--name', 'test'], { TASKQUEUE_BROKER_URL: url })
    expect(await one.event('schedule-failed')).toMatchObject({ schedule: 'tick' })
    await remember('tick', Math.floor(Date.now() / 1000) * 1000, 'every 1000')
    const stood = Date.now()
    await until('some slots have passed', () => Date.now() > stood + 3000)
    expect(await slots('ticks')).toEqual([])
    await redis.client.acl('SETUSER', 'beat', '+hset')
    await until('it fires', async () => (await slots('ticks')).length >= 2)
    const found = await slots('ticks')
    expect(new Set(found).size).toBe(found.length)
  })
})
