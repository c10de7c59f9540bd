// What a probe of a Celery worker costs: `node bench/probes.ts [PROBES]`. In one run, with a real Redis and a real Celery worker, the CPU
// of the companion per /ping, and that of `celery inspect ping -d`. It asserts nothing. What the worker itself spends on an answer is the
// same for both and is told beside them.
import { execFile, spawn } from 'node:child_process'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { tied } from '../deploy/local/command.ts'
import { Celery, MODULES, celeryBin } from '../test/conformance/support/celery.ts'
import { freePort, startRedis } from '../test/fixtures/redis-server.ts'
import { until } from '../test/fixtures/until.ts'
import { cpuSeconds, statFields, ticks } from './proc.ts'

const MAIN = fileURLToPath(new URL('../src/companion/main.ts', import.meta.url))
const COMMANDS = 5

const probes = Number(process.argv[2] ?? 3000)
const bin = await celeryBin('5.7')
const redis = await startRedis()
const celery = new Celery(bin, redis.url)
const worker = await celery.worker('bench', '--concurrency', '1')
const node = `py-bench@${hostname()}`

/** As in a pod, but that each answer is of its own: the 2 s for which one is reused are 0 here. */
async function companion(): Promise<void> {
  const port = await freePort()
  const flags = ['--max-old-space-size=16', '--max-semi-space-size=1', '--single-threaded-gc']
  const [program, ...args] = tied(process.execPath, [...flags, MAIN])
  const env = {
    PATH: process.env.PATH,
    TASKQUEUE_BROKER_URL: redis.url,
    TASKQUEUE_COMPANION_PING: 'Celery',
    TASKQUEUE_COMPANION_NODE: node,
    TASKQUEUE_COMPANION_PORT: String(port),
    TASKQUEUE_COMPANION_MAX_TASK_SECONDS: '600',
    TASKQUEUE_COMPANION_STALLED_SECONDS: '120',
    TASKQUEUE_COMPANION_REUSE_SECONDS: '0',
  }
  const child = spawn(program, args, { env, stdio: 'ignore' })
  const [pid = 0, workerPid = 0] = [child.pid, worker.child.pid]
  const ping = (): Promise<Response> => fetch(`http://127.0.0.1:${port}/ping?for=liveness`)
  try {
    await until('it pongs', async () => (await (await ping().catch(() => new Response(''))).text()).includes('pong'))
    const idleFrom = cpuSeconds(pid)
    await delay(20_000)
    const idle = (cpuSeconds(pid) - idleFrom) / 20
    const [from, workerFrom, began] = [cpuSeconds(pid), cpuSeconds(workerPid), performance.now()]
    let pongs = 0
    for (let i = 0; i < probes; i++) if ((await (await ping()).text()).includes('pong')) pongs++
    const seconds = (performance.now() - began) / 1000
    const each = ((cpuSeconds(pid) - from - idle * seconds) / probes) * 1000
    const ofWorker = ((cpuSeconds(workerPid) - workerFrom) / probes) * 1000
    print(
      `companion: ${each.toFixed(3)} ms of CPU a probe (${probes} probes, ${pongs} pongs, in ${seconds.toFixed(1)} s)`,
    )
    print(`           ${(idle * 1000).toFixed(2)} ms of CPU a second beside them (clock, presence, pool)`)
    print(`worker:    ${ofWorker.toFixed(3)} ms of CPU for an answer`)
    await command(each)
  } finally {
    child.kill('SIGKILL')
  }
}

/** @param each what the companion took, in milliseconds */
async function command(each: number): Promise<void> {
  const env = { ...process.env, PYTHONPATH: MODULES, BROKER_URL: redis.url }
  const args = ['-A', 'proj', 'inspect', 'ping', '-d', node]
  const children = childSeconds()
  for (let i = 0; i < COMMANDS; i++) await promisify(execFile)(join(bin, 'celery'), args, { env })
  const milliseconds = ((childSeconds() - children) / COMMANDS) * 1000
  print(`celery inspect ping -d: ${milliseconds.toFixed(0)} ms of CPU (${COMMANDS} times)`)
  print(`ratio: 1 to ${(milliseconds / each).toFixed(0)}`)
}

/** CPU seconds of the children that have ended and been waited for. */
function childSeconds(): number {
  const fields = statFields('self')
  return (Number(fields[13]) + Number(fields[14])) / ticks()
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

try {
  await companion()
} finally {
  await celery.close()
  await redis.close()
}
