// A real Flower beside Node workers: its API and its pages show them, and steer them, as they do Python ones.
import { spawn, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TaskApp } from '../../src/runtime/app.ts'
import { tied } from '../../deploy/local/command.ts'
import { endAll, startWorker, type Process } from '../fixtures/command.ts'
import { begun, newLedger } from '../integration/runtime/support/ledger.ts'
import { freePort, startRedis, type RedisServer } from '../fixtures/redis-server.ts'
import { until } from '../fixtures/until.ts'
import { FLOWER, MODULES, pythonBin } from './support/celery.ts'

const NODE = 'celery@node-1'
let redis: RedisServer
let flower: ChildProcess
let output = ''
let url: string
let app: TaskApp
let worker: Process
const ledger = newLedger()

beforeAll(async () => {
  const bin = await pythonBin(FLOWER)
  redis = await startRedis()
  app = new TaskApp({ name: 'test', env: { TASKQUEUE_BROKER_URL: redis.url } })
  worker = await startWorker(redis.url, { concurrency: 3, args: ['--hostname', NODE, '--events'] })
  const port = await freePort()
  url = `http://127.0.0.1:${port}`
  const args = ['-A', 'proj', 'flower', `--port=${port}`, '--address=127.0.0.1', '--inspect-timeout=5000']
  const [program, ...rest] = tied(join(bin, 'celery'), args)
  flower = spawn(program, rest, {
    env: {
      ...process.env,
      PYTHONPATH: MODULES,
      PYTHONDONTWRITEBYTECODE: '1',
      BROKER_URL: redis.url,
      FLOWER_UNAUTHENTICATED_API: 'true',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  flower.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  flower.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  await until(
    'Flower knows the worker',
    async () => Object.keys(await workers().catch(() => ({}))).includes(NODE),
    60,
  ).catch((error: unknown) => {
    throw new Error(`${String(error)}; Flower said ${output.slice(-2000)}`)
  })
}, 400_000)
afterAll(async () => {
  const gone = new Promise((resolve) => flower.once('exit', resolve))
  flower.kill('SIGKILL')
  await Promise.all([gone, endAll(), app.close()])
  await redis.close()
})

interface Shown {
  readonly active_queues?: readonly { readonly name: string }[]
  readonly registered?: readonly string[]
  readonly stats?: { readonly pool?: { readonly 'max-concurrency'?: number } }
  readonly conf?: Readonly<Record<string, unknown>>
}

async function workers(): Promise<Record<string, Shown>> {
  return (await (await fetch(`${url}/api/workers?refresh=1`)).json()) as Record<string, Shown>
}

async function task(id: string): Promise<{ state?: string; worker?: string; name?: string; result?: string }> {
  const response = await fetch(`${url}/api/task/info/${id}`)
  return response.ok ? ((await response.json()) as { state?: string }) : {}
}

async function post(path: string, form: Record<string, string> = {}): Promise<string> {
  const response = await fetch(`${url}/api/${path}`, { method: 'POST', body: new URLSearchParams(form) })
  const text = await response.text()
  expect([path, response.status, text]).toEqual([path, 200, text])
  return text
}

describe('Flower', () => {
  it('shows a Node worker: queues, tasks, pool, configuration', async () => {
    const shown = (await workers())[NODE]
    expect(shown?.active_queues?.map(({ name }) => name)).toEqual(['celery'])
    expect(shown?.registered).toEqual(expect.arrayContaining(['test.add', 'test.note']))
    expect(shown?.stats?.pool?.['max-concurrency']).toBe(3)
    expect(shown?.conf).toMatchObject({ task_default_queue: 'celery' })
  })

  it('shows what became of tasks', async () => {
    const sent = await app.send('test.add', [40, 2])
    await until('it is shown', async () => (await task(sent.id)).state === 'SUCCESS')
    expect(await task(sent.id)).toMatchObject({ name: 'test.add', result: '42', worker: NODE })
    const failing = await app.send('test.permanent')
    await until('its failure is shown', async () => (await task(failing.id)).state === 'FAILURE')
  })

  it('sends tasks to it, and reads their results', async () => {
    const response = await fetch(`${url}/api/task/send-task/test.add`, {
      method: 'POST',
      body: JSON.stringify({ args: [20, 22] }),
    })
    const { 'task-id': id } = (await response.json()) as { 'task-id': string }
    expect(await app.result(id).get({ timeoutSeconds: 20 })).toBe(42)
    const result = (await (await fetch(`${url}/api/task/result/${id}`)).json()) as { state: string; result: number }
    expect(result).toMatchObject({ state: 'SUCCESS', result: 42 })
  })

  it('steers it: pool, queues, limits, revoke, shutdown', { timeout: 120_000 }, async () => {
    await post(`worker/pool/grow/${NODE}`, { n: '2' })
    await post(`worker/pool/shrink/${NODE}`, { n: '1' })
    await post(`worker/queue/add-consumer/${NODE}`, { queue: 'extra' })
    const grown = (await workers())[NODE]
    expect(grown?.stats?.pool?.['max-concurrency']).toBe(4)
    expect(grown?.active_queues?.map(({ name }) => name)).toEqual(['celery', 'extra'])
    await post(`worker/queue/cancel-consumer/${NODE}`, { queue: 'extra' })
    expect(await post('task/rate-limit/test.note', { workername: NODE, ratelimit: '100/s' })).toContain(
      'set successfully',
    )
    expect(await post('task/timeout/test.note', { workername: NODE, soft: '30', hard: '60' })).toContain(
      'set successfully',
    )

    const running = await app.send('test.until-aborted', [ledger, 'flower'])
    await until('it runs', () => begun(ledger).length === 1)
    await post(`task/revoke/${running.id}?terminate=true`)
    await until('it is revoked', async () => (await task(running.id)).state === 'REVOKED')
    await post(`worker/shutdown/${NODE}`)
    expect(await worker.exit(60)).toBe(0)
  })

  it('shows it on its pages', async () => {
    expect(await (await fetch(`${url}/workers`)).text()).toContain(NODE)
    expect(await (await fetch(`${url}/worker/${NODE}`)).text()).toContain(NODE)
    expect((await fetch(`${url}/tasks`)).status).toBe(200)
    expect((await fetch(`${url}/broker`)).status).toBe(200)
  })
})
