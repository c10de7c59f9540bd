// `make bench`: side by side with the peers, on one Redis in one run. `node bench/main.ts [--quick] [--only NAME,...] [--no-write]`.
// Without --quick it takes half an hour, and writes docs/benchmarks.md. It asserts nothing.

import { pbkdf2Sync } from 'node:crypto'
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { attempt } from '../deploy/local/command.ts'
import { startRedis } from '../test/fixtures/redis-server.ts'
import { endure } from './contest/endurance.ts'
import { versions } from './contest/entrants.ts'
import { redisLimits } from './contest/limits.ts'
import { full, quick, type Plan } from './contest/plan.ts'
import { runScenarios, type Ground } from './contest/run.ts'
import { summarise } from './contest/summary.ts'
import { say } from './operator/figures.ts'
import { writeReport, type Report } from './report.ts'

const root = join(import.meta.dirname, '..')
/** What the other benchmarks are asked for in full mode. */
const OTHERS: readonly (readonly string[])[] = [
  ['bench/probes.ts', '1000'],
  ['bench/companion.ts'],
  ['bench/beat.ts', 'lateness'],
  ['bench/operator.ts', 'create', '--queues', '300', '--only', 'operator,loader,controller-runtime'],
]

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      'no-write': { type: 'boolean', default: false },
    },
  })
  const only = values.only === '' ? [] : values.only.split(',')
  const plan = values.quick ? quick : full
  const began = performance.now()
  const redis = await startRedis('--appendfsync', 'everysec', '--auto-aof-rewrite-percentage', '0')
  try {
    const report = await measure({ redis: redis.client, port: redis.port, hashRounds: calibrate() }, plan, only)
    for (const outcome of report.outcomes) tell(outcome)
    say(`in ${((performance.now() - began) / 60_000).toFixed(1)} minutes`)
    const whole = !values.quick && only.length === 0 && !values['no-write']
    if (whole) for (const file of await writeReport(root, report)) say(`written: ${file.slice(root.length + 1)}`)
  } finally {
    await redis.close()
  }
}

async function measure(ground: Ground, plan: Plan, only: readonly string[]): Promise<Report> {
  const limits = await redisLimits(ground.port)
  const outcomes = await runScenarios(ground, plan, only)
  const endurance = only.length === 0 ? await endure(ground, plan) : { idle: [], memory: [], parked: [] }
  return {
    mode: plan === full ? 'Full mode' : 'Quick mode',
    date: new Date().toISOString().slice(0, 10),
    machine: {
      CPU: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`,
      memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    },
    versions: { Node: process.version, Redis: await redisVersion(ground), ...(await versions()) },
    limits,
    outcomes,
    endurance,
    others: plan === full && only.length === 0 ? await others() : [],
  }
}

async function redisVersion({ redis }: Ground): Promise<string> {
  return /redis_version:(\S+)/.exec(await redis.info('server'))?.[1] ?? 'unknown'
}

async function others(): Promise<Report['others']> {
  const all: { command: string; lines: string[] }[] = []
  for (const args of OTHERS) {
    const command = `node ${args.join(' ')}`
    say(command)
    const { status, stdout, stderr } = await attempt(process.execPath, args, { cwd: root, timeoutSeconds: 900 })
    const failed = status === 0 ? [] : [`ended with ${status}: ${stderr.trim().split('\n').at(-1) ?? ''}`]
    all.push({ command, lines: [...stdout.trim().split('\n'), ...failed] })
  }
  return all
}

/** Rounds of the hash that take 5 ms here. */
function calibrate(): number {
  const ROUNDS = 20_000
  pbkdf2Sync('a', 'b', ROUNDS, 32, 'sha256')
  const began = performance.now()
  for (let i = 0; i < 5; i++) pbkdf2Sync('a', 'b', ROUNDS, 32, 'sha256')
  return Math.max(1, Math.round((ROUNDS * 5 * 5) / (performance.now() - began)))
}

function tell(outcome: Report['outcomes'][number]): void {
  say(`\n${outcome.scenario.title}`)
  for (const { entrant, median, least, most, ratio } of summarise(outcome)) {
    const figures = [median, least, most].map((value) => (value < 100 ? value.toFixed(2) : String(Math.round(value))))
    const [middle, low, high] = figures
    say(
      `  ${entrant.padEnd(16)} ${(middle ?? '').padStart(9)}  (${low} to ${high})  ${ratio === undefined ? '' : `ours / this: ${ratio.toFixed(2)}`}`,
    )
  }
}

await main()
