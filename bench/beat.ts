// How late beat is and what it costs: `node bench/beat.ts lateness|cost`. A real beat on a real redis-server of its own; lateness is the
// broker's own time of publication minus the slot. It asserts nothing.
import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { RedisStore } from '../src/runtime/broker/redis/store.ts'
import { endAll, launch, type Process } from '../test/fixtures/command.ts'
import { startRedis, type RedisServer } from '../test/fixtures/redis-server.ts'

interface Scene {
  readonly redis: RedisServer
  readonly folder: string
}

const measurements: Readonly<Record<string, (scene: Scene) => Promise<void>>> = { lateness, cost }

/** A schedule whose slots are spread: each has a second of its own in the period. */
const spread = (i: number, periodSeconds: number): string => {
  const second = i % periodSeconds
  const minute = Math.floor(second / 60)
  const cron = periodSeconds <= 60 ? `${second} * * * * *` : `${second % 60} ${minute} * * * *`
  return `- {name: s${i}, task: bench.nothing, cron: "${cron}", queue: bench, args: [${i}]}`
}

async function startBeat({ redis, folder }: Scene, schedules: readonly string[]): Promise<Process> {
  const file = join(folder, 'schedules.yaml')
  await writeFile(file, `schedules:\n${schedules.join('\n')}\n`)
  const args = ['beat', '--schedules', file, '--schedule-file', join(folder, 'state.json'), '--name', 'bench']
  const beat = launch([...args, '--log-level', 'warn'], {
    TASKQUEUE_BROKER_URL: redis.url,
    TASKQUEUE_HEALTH_PORT: '9899',
  })
  await delay(5000)
  return beat
}

/** Every schedule has one slot a minute: 1,000 samples a minute. */
async function lateness(scene: Scene): Promise<void> {
  for (const [what, schedules] of [
    ['1,000 schedules spread over the minute', Array.from({ length: 1000 }, (_, i) => spread(i, 60))],
    [
      '1,000 schedules in the same second of the minute',
      Array.from({ length: 1000 }, (_, i) => `- {name: s${i}, task: bench.nothing, everySeconds: 60, queue: bench}`),
    ],
  ] as const) {
    await scene.redis.client.flushall()
    await startBeat(scene, schedules)
    const store = new RedisStore({ url: scene.redis.url })
    const late: number[] = []
    const from = Math.ceil(Date.now() / 60_000) * 60_000
    await delay(from + 61_000 - Date.now())
    for (const { slot, firedAt } of (await store.readCursors('bench')).values())
      if (firedAt !== null) late.push(firedAt - slot)
    await store.close()
    await endAll()
    print(what, late)
  }
}

function print(what: string, late: number[]): void {
  late.sort((a, b) => a - b)
  const at = (share: number): string => `${late[Math.min(late.length - 1, Math.floor(late.length * share))] ?? NaN} ms`
  process.stdout.write(`${what}: ${late.length} slots, p50 ${at(0.5)}, p90 ${at(0.9)}, p99 ${at(0.99)}, max ${at(1)}\n`)
}

/** A minute of a beat that has 10,000 schedules. */
async function cost(scene: Scene): Promise<void> {
  for (const [what, schedules] of [
    ['10,000 schedules, each once an hour', Array.from({ length: 10_000 }, (_, i) => spread(i, 3600))],
    [
      '10,000 schedules, every minute with a minute of jitter',
      Array.from(
        { length: 10_000 },
        (_, i) => `- {name: s${i}, task: bench.nothing, everySeconds: 60, jitterSeconds: 60, queue: bench}`,
      ),
    ],
  ] as const) {
    await scene.redis.client.flushall()
    const { pid } = await startBeat(scene, schedules)
    await delay(10_000)
    const before = await cpuSeconds(pid)
    const ran = await scene.redis.client.llen('bench')
    await delay(60_000)
    const spent = (await cpuSeconds(pid)) - before
    const runs = (await scene.redis.client.llen('bench')) - ran
    const { rss, anonymous } = await memory(pid)
    process.stdout.write(
      `${what}: ${runs} slots in a minute, ${((spent / 60) * 100).toFixed(2)} % of a core, RSS ${rss} MiB (anonymous ${anonymous} MiB)\n`,
    )
    await endAll()
  }
}

async function cpuSeconds(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? []
  const ticks = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))
  return (Number(fields[11]) + Number(fields[12])) / ticks
}

async function memory(pid: number): Promise<{ rss: number; anonymous: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const mebibytes = (name: string): number =>
    Math.round(Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024)
  return { rss: mebibytes('VmRSS'), anonymous: mebibytes('RssAnon') }
}

const measure = measurements[process.argv[2] ?? '']
if (!measure) {
  process.stderr.write(`say what to measure: ${Object.keys(measurements).join(' or ')}\n`)
  process.exit(2)
}
const scene: Scene = { redis: await startRedis(), folder: await mkdtemp(join(tmpdir(), 'taskqueue-bench-')) }
try {
  await measure(scene)
} finally {
  await endAll()
  await scene.redis.close()
  await rm(scene.folder, { recursive: true, force: true })
}
