// Twenty beats of one name at once, started by mistake, on machines whose clocks are up to 30 s apart; the one that fires is killed,
// stopped, or heard late by the broker, again and again. Each slot is published once, or accounted for as missed.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { endAll, launch, run, type Process } from '../fixtures/command.ts'
import { startLateNetwork, type LateNetwork } from '../fixtures/late-network.ts'
import { publishedSlots } from '../fixtures/published.ts'
import { startRedis, type RedisServer } from '../fixtures/redis-server.ts'
import { until } from '../fixtures/until.ts'
import { clockOff } from '../fixtures/wrong-clock.ts'
import { Draw } from './history/draw.ts'

const BEATS = 20
/** How often the beat that fires is hit. */
const HITS = 9
const KINDS = ['killed', 'stopped', 'heard late'] as const
const CURSORS = 'taskqueue:cursors:many'
/** Seconds between the slowest and the fastest clock. */
const APART = 30

let redis: RedisServer
let folder: string
let schedules: string
let started = 0

/** A beat and what lies between it and the broker. */
interface Hittable {
  readonly process: Process
  readonly network: LateNetwork
}
const beats = new Map<number, Hittable>()

beforeEach(async () => {
  redis = await startRedis()
  folder = await mkdtemp(join(tmpdir(), 'taskqueue-beats-'))
  schedules = join(folder, 'schedules.yaml')
})
afterEach(async () => {
  await endAll()
  await Promise.all([...beats.values()].map(({ network }) => network.close()))
  beats.clear()
  await redis.close()
  await rm(folder, { recursive: true, force: true })
})

async function startBeat(clockSeconds: number): Promise<void> {
  const file = join(folder, `schedule-${started++}.json`)
  const args = ['beat', '--schedules', schedules, '--schedule-file', file, '--name', 'many']
  const network = await startLateNetwork(redis.port)
  const one = launch(args, { TASKQUEUE_BROKER_URL: network.url, ...clockOff(clockSeconds) })
  beats.set(one.pid, { process: one, network })
}

const slots = (queue: string): Promise<number[]> => publishedSlots(redis.client, queue)

/** The process id of the beat that holds the lease now. */
async function holder(): Promise<number | undefined> {
  const lease = await redis.client.get('taskqueue:lease:beat:many')
  const pid = Number(lease?.split(':').at(-2))
  return Number.isInteger(pid) ? pid : undefined
}

it('twenty beats whose holder is killed, stopped and heard late again and again publish each slot once, or account for it', async () => {
  const seed = Math.floor(Math.random() * 1e9) + 1
  process.stdout.write(`seed ${seed}\n`)
  // Every hit is drawn from it, so that a run can be repeated.
  const draw = new Draw(seed)
  const clock = (): number => Math.round((draw.next() - 0.5) * APART)
  await writeFile(
    schedules,
    `schedules:
- {name: all, task: t, everySeconds: 1, queue: all, catchUp: All, misfireGraceSeconds: 600}
- {name: last, task: t, everySeconds: 1, queue: last, misfireGraceSeconds: 3}
- {name: none, task: t, cron: "*/2 * * * * *", queue: none, catchUp: None}
- {name: spread, task: t, everySeconds: 1, jitterSeconds: 1, queue: spread, catchUp: All, misfireGraceSeconds: 600}
`,
  )
  // From here on each slot counts.
  const stood = Math.floor(Date.now() / 2000) * 2000
  for (const name of ['all', 'last', 'none', 'spread']) {
    const trigger = name === 'none' ? 'cron */2 * * * * * UTC' : 'every 1000'
    await redis.client.hset(CURSORS, name, `${stood} 0 0 0 ${trigger}`)
  }
  // The slowest and the fastest clock are among them.
  for (const seconds of [-APART / 2, APART / 2, ...Array.from({ length: BEATS - 2 }, clock)]) await startBeat(seconds)
  await until('the first slots are published', async () => (await slots('all')).length >= 2, 60)

  let before: number | undefined
  for (let hit = 0; hit < HITS; hit++) {
    const pid = await until(
      'a beat that was not hit yet fires',
      async () => {
        const now = await holder()
        return now !== undefined && now !== before && beats.has(now) ? now : undefined
      },
      30,
    )
    const enough = (await slots('all')).length + 1 + Math.floor(draw.next() * 2)
    await until('it publishes', async () => (await slots('all')).length >= enough)
    const kind = KINDS[hit % KINDS.length]
    const { process: one, network } = beats.get(pid) as Hittable
    const lost = (): Promise<unknown> =>
      until("the lease is another beat's", async () => ![undefined, pid].includes(await holder()), 30)
    if (kind === 'killed') {
      one.signal('SIGKILL')
      await startBeat(clock())
    } else if (kind === 'stopped') {
      one.signal('SIGSTOP')
      await lost()
      // It comes back while another holds the lease, and believes for a moment that it is still its own.
      one.signal('SIGCONT')
    } else {
      network.hold()
      await lost()
      const more = (await slots('all')).length + 1
      await until('the other has published', async () => (await slots('all')).length >= more)
      // Only the broker can tell now that these steps are of the past.
      network.release()
    }
    before = pid
  }
  const enough = (await slots('all')).length + 3
  await until('they have gone on', async () => (await slots('all')).length >= enough, 30)
  await endAll()
  const told = JSON.parse(
    (
      await run(['schedule', 'list', '--schedules', schedules, '--name', 'many', '--json'], {
        TASKQUEUE_BROKER_URL: redis.url,
      })
    ).stdout,
  ) as { name: string; runs: number; missed: number }[]
  expect(told).toHaveLength(4)

  for (const { name, runs, missed } of told) {
    const found = await slots(name)
    expect(new Set(found).size, `${name} publishes no slot twice`).toBe(found.length)
    expect(found, `${name} publishes in order`).toEqual(found.toSorted((a, b) => a - b))
    expect([name, runs]).toEqual([name, found.length])
    const last = Number((await redis.client.hget(CURSORS, name))?.split(' ')[0])
    const passed = (last - stood) / (name === 'none' ? 2000 : 1000)
    expect([name, runs + missed], 'each slot was published or is accounted for').toEqual([name, passed])
    if (name === 'all' || name === 'spread') expect([name, missed]).toEqual([name, 0])
  }
})
