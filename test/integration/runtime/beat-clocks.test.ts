// Beat on a machine whose clock is wrong or is set while it runs: nothing fires early, nothing twice, and HoldBeat holds.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { endAll, launch, run, type Process } from '../../fixtures/command.ts'
import { publishedSlots } from '../../fixtures/published.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'
import { SettableClock } from '../../fixtures/wrong-clock.ts'

let redis: RedisServer
let folder: string
let schedules: string
let clock: SettableClock

beforeEach(async () => {
  redis = await startRedis()
  folder = await mkdtemp(join(tmpdir(), 'taskqueue-clocks-'))
  schedules = join(folder, 'schedules.yaml')
  clock = new SettableClock(join(folder, 'clock'))
})
afterEach(async () => {
  await endAll()
  await redis.close()
  await rm(folder, { recursive: true, force: true })
})

function beat(args: readonly string[], env: Record<string, string> = {}): Process {
  const named = ['beat', '--schedules', schedules, '--name', 'test', ...args]
  return launch(named, { TASKQUEUE_BROKER_URL: redis.url, ...env })
}

const everySecond = (more = ''): Promise<void> =>
  writeFile(schedules, `schedules: [{name: tick, task: t, everySeconds: 1, queue: ticks${more}}]\n`)

const slots = (): Promise<number[]> => publishedSlots(redis.client, 'ticks')

async function listed(): Promise<{ runs: number; missed: number; missedSlots: string[] }> {
  const args = ['schedule', 'list', '--schedules', schedules, '--name', 'test', '--json']
  const { stdout } = await run(args, { TASKQUEUE_BROKER_URL: redis.url })
  return (JSON.parse(stdout) as { runs: number; missed: number; missedSlots: string[] }[])[0] ?? expect.fail(stdout)
}

describe('HoldBeat', () => {
  const hold = ['--on-skew', 'HoldBeat', '--max-skew', '60']

  it('holds its fire while the clocks disagree, says so, and applies the misfire rule when they agree', async () => {
    await everySecond()
    const one = beat(hold, clock.env)
    await until('it fires', async () => (await slots()).length >= 2)
    clock.set(75)
    expect(await one.event('clock-skewed')).toMatchObject({ level: 'error', held: true })
    const held = await one.health('/readyz')
    expect(held.status).toBe(503)
    expect(held.body).toMatch(/holds its fire: .* 7[45] s ahead of the broker's, and the limit is 60 s/)
    expect((await one.health('/metrics')).body).toMatch(/^taskqueue_beat_held 1$/m)
    expect((await one.health('/livez')).status).toBe(200)
    const before = await slots()
    const stood = before.at(-1) ?? NaN
    await until('three slots have passed', () => Date.now() > stood + 4000)
    expect(await slots()).toEqual(before)
    clock.set(0)
    await one.event('clock-agrees')
    await until('it fires again', async () => (await slots()).length >= before.length + 2)
    await until('it is ready', async () => (await one.health('/readyz')).status === 200)
    // Last: the slots of the hold but the latest are missed, and each of them is told. A slow machine may miss some later on, too.
    one.signal('SIGTERM')
    await one.exit()
    const found = await slots()
    const [first = NaN, last = NaN] = [found[0], found.at(-1)]
    const all = Array.from({ length: (last - first) / 1000 + 1 }, (_, i) => first + i * 1000)
    const gone = all.filter((slot) => !found.includes(slot)).map((slot) => new Date(slot).toISOString())
    const during = Array.from({ length: 3 }, (_, i) => new Date(stood + (i + 1) * 1000).toISOString())
    expect(gone).toEqual(expect.arrayContaining(during))
    const missed = one.lines().filter(({ event }) => event === 'job-missed')
    expect(missed.map((line) => line['scheduledFor'])).toEqual(gone)
    expect(await listed()).toMatchObject({ missed: gone.length, missedSlots: gone.slice(-10) })
  })

  it('lets another beat fire, on a machine whose clock is right', async () => {
    await everySecond(', catchUp: All')
    const one = beat(hold, clock.env)
    await until('it fires', async () => (await slots()).length >= 2)
    const other = beat(hold)
    await until('the other stands by', async () => (await other.health('/readyz')).body.includes('stands by'))
    clock.set(-90)
    await one.event('clock-skewed')
    await other.event('beat-leader', 10)
    const enough = (await slots()).length + 3
    await until('it has gone on', async () => (await slots()).length >= enough)
    const found = await slots()
    expect(found).toEqual(found.map((_, i) => (found[0] ?? NaN) + i * 1000))
  })
})

describe('a beat that only reports', () => {
  it.each([3600, -3600])('fires no slot early and none twice when its clock is set by %s s', async (seconds) => {
    await everySecond(', catchUp: All')
    const one = beat([], clock.env)
    await until('it fires', async () => (await slots()).length >= 2)
    clock.set(seconds)
    expect(await one.event('clock-skewed')).toMatchObject({ held: false })
    const enough = (await slots()).length + 3
    await until('it has gone on', async () => (await slots()).length >= enough)
    const found = await slots()
    expect(found).toEqual(found.map((_, i) => (found[0] ?? NaN) + i * 1000))
    expect(found.at(-1)).toBeLessThanOrEqual(Date.now())
    expect((await one.health('/readyz')).body).toContain('the limit is 60 s')
    expect(await listed()).toMatchObject({ missed: 0 })
  })
})
