// What the companion costs: `node bench/companion.ts [--seconds 60] [--celery]`. The built one with the flags of its container, on a real
// Redis, three real chronyd as NTP servers and one as the node's, and with --celery beside a real worker whose probes it answers as often
// as the kubelet asks. Its anonymous memory, its CPU and its start, beside their targets. It asserts nothing.

import { spawn } from 'node:child_process'
import { hostname } from 'node:os'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { tied } from '../deploy/local/command.ts'
import { Celery, celeryBin } from '../test/conformance/support/celery.ts'
import { startChronyd, type Chronyd } from '../test/fixtures/chronyd.ts'
import { freePort, startRedis } from '../test/fixtures/redis-server.ts'
import { until } from '../test/fixtures/until.ts'
import { cpuSeconds, memoryKiB } from './proc.ts'

const MAIN = join(import.meta.dirname, '../src/companion/dist/main.js')
/** As in src/operator/desired/companion.ts. */
const FLAGS = ['--max-old-space-size=16', '--max-semi-space-size=1', '--single-threaded-gc']

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '60' }, celery: { type: 'boolean', default: false } },
})
const seconds = Number(values.seconds)
if (!(seconds > 0)) throw new Error(`--seconds is "${values.seconds}": give a number above 0.`)
if (!existsSync(MAIN)) throw new Error('The companion is not built: npm run build.')

const redis = await startRedis()
const servers: Chronyd[] = []
for (const stratum of [2, 3, 4]) servers.push(await startChronyd({ localStratum: stratum }))
const node = await startChronyd({ follows: servers.map(({ port }) => port) })
const celery = values.celery ? new Celery(await celeryBin('5.7'), redis.url) : undefined
try {
  await celery?.worker('bench', '--pool', 'prefork', '--concurrency', '2')
  await measure()
} finally {
  await celery?.close()
  for (const each of [...servers, node, redis]) await each.close()
}

async function measure(): Promise<void> {
  const port = await freePort()
  const began = performance.now()
  const [program, ...args] = tied('node', [...FLAGS, MAIN])
  const companion = spawn(program, args, {
    env: {
      PATH: process.env.PATH,
      TASKQUEUE_BROKER_URL: redis.url,
      TASKQUEUE_NAMESPACE: 'bench',
      TASKQUEUE_NAME: 'companion',
      TASKQUEUE_COMPANION_PORT: String(port),
      TASKQUEUE_COMPANION_CLOCK: 'Discipline',
      TASKQUEUE_COMPANION_SERVERS: servers.map((server) => `127.0.0.1:${server.port}`).join(','),
      TASKQUEUE_COMPANION_NODE_IP: `127.0.0.1:${node.commandPort}`,
      TASKQUEUE_COMPANION_PING: celery ? 'Celery' : 'Off',
      TASKQUEUE_COMPANION_NODE: `py-bench@${hostname()}`,
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const gone = new Promise((resolve) => companion.once('exit', resolve))
  const pid = companion.pid ?? Number.NaN
  // Readiness and liveness, every ten seconds each.
  const probes = celery && setInterval(() => void fetch(`http://127.0.0.1:${port}/ping`).catch(() => undefined), 5_000)
  try {
    await until('it has measured broker and NTP', async () => known(port))
    const startSeconds = (performance.now() - began) / 1000
    // What starting cost is not what running costs.
    await delay(5_000)
    let memory = memoryKiB(pid, 'RssAnon')
    const [before, from] = [cpuSeconds(pid), performance.now()]
    while (performance.now() - from < seconds * 1000) {
      await delay(Math.min(1_000, seconds * 1000))
      memory = Math.max(memory, memoryKiB(pid, 'RssAnon'))
    }
    const share = (cpuSeconds(pid) - before) / ((performance.now() - from) / 1000)
    print('anonymous memory at most', `${(memory / 1024).toFixed(1)} MiB`, '24 MiB', memory <= 24 * 1024)
    print(`CPU over ${seconds} s`, `${(share * 100).toFixed(2)} % of a core`, '0.5 %', share <= 0.005)
    print('start to first measurement', `${startSeconds.toFixed(2)} s`, '3 s', startSeconds <= 3)
  } finally {
    clearInterval(probes)
    companion.kill('SIGKILL')
    await gone
  }
}

async function known(port: number): Promise<boolean> {
  try {
    const answer = (await (await fetch(`http://127.0.0.1:${port}/clock`)).json()) as {
      host: { offsetSeconds: number | null } | null
      broker: unknown
    }
    return answer.broker !== null && typeof answer.host?.offsetSeconds === 'number'
  } catch {
    return false
  }
}

function print(what: string, figure: string, target: string, met: boolean): void {
  process.stdout.write(`${what.padEnd(28)} ${figure.padStart(16)}   target ${target}${met ? '' : '   MISSED'}\n`)
}
