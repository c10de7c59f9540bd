// The lines that processes really write, against the index template: worker, beat, scheduler and companion say the same things by the same names.
import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { TaskApp } from '../../../src/runtime/app.ts'
import { tied } from '../../../deploy/local/command.ts'
import { endAll, launch, startWorker } from '../../fixtures/command.ts'
import { complaints } from '../../fixtures/log-schema.ts'
import { freePort, startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'

const COMPANION = fileURLToPath(new URL('../../../src/companion/main.ts', import.meta.url))
const RUNTIME = new URL('../../../src/runtime/index.ts', import.meta.url)
const PLACE = { TASKQUEUE_NAME: 'shop', TASKQUEUE_NAMESPACE: 'demo', KUBERNETES_SERVICE_HOST: '10.0.0.1' }

let redis: RedisServer
let folder: string
let app: TaskApp

beforeAll(async () => {
  redis = await startRedis()
  folder = await mkdtemp(join(tmpdir(), 'taskqueue-lines-'))
  app = new TaskApp({ name: 'test', env: { TASKQUEUE_BROKER_URL: redis.url } })
})
afterAll(async () => {
  await endAll()
  await app.close()
  await redis.close()
  await rm(folder, { recursive: true, force: true })
})

/** What a program of Node's says until it has said enough. */
async function said(args: readonly string[], env: Record<string, string>, enough: RegExp): Promise<object[]> {
  const [program, ...rest] = tied(process.execPath, args)
  const child = spawn(program, rest, {
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let out = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  const ended = new Promise((resolve) => child.once('exit', resolve))
  try {
    await until('it has said enough', () => enough.test(out))
  } finally {
    child.kill('SIGKILL')
    await ended
  }
  return out
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as object)
}

it.each(['async', 'threads'])(
  'a worker with the pool %s writes what the template says, whatever becomes of tasks',
  async (pool) => {
    const env = { ...PLACE, TASKQUEUE_LOG_LEVEL: 'debug', TASKQUEUE_POOL: pool, TASKQUEUE_RETRY_BACKOFF_SECONDS: '0' }
    const worker = await startWorker(redis.url, { env })
    const sent = await app.send('test.add', [1, 2])
    const failed = await app.send('test.permanent')
    await app.send('test.unknown')
    await app.send('test.add', [1, 2], { countdown: 1, expires: 0.5 })
    await redis.client.lpush('celery', 'garbage')
    for (const event of ['task-succeeded', 'task-failed', 'message-rejected', 'task-expired']) await worker.event(event)
    worker.signal('SIGTERM')
    await worker.exit()
    const lines = worker.lines()
    expect(complaints(lines)).toEqual([])
    for (const line of lines)
      expect(line).toMatchObject({ service: 'fixture', taskqueue: 'shop', namespace: 'demo', component: 'worker' })
    const of = (id: string): object | undefined => lines.find(({ taskId }) => taskId === id)
    expect(of(sent.id)).toMatchObject({
      event: 'task-succeeded',
      task: 'test.add',
      rootId: sent.id,
      queue: 'celery',
      attempt: 1,
    })
    expect(of(failed.id)).toMatchObject({
      event: 'task-failed',
      rootId: failed.id,
      error: { type: expect.any(String) as string },
    })
    expect(JSON.stringify(lines)).not.toContain('"args"')
  },
)

it('beat writes what the template says, also of a bad edit', async () => {
  const schedules = join(folder, 'schedules.yaml')
  await writeFile(schedules, 'schedules: [{name: tick, task: test.add, everySeconds: 1, queue: ticks}]\n')
  const beat = launch(['beat', '--schedules', schedules, '--name', 'test'], {
    ...PLACE,
    TASKQUEUE_BROKER_URL: redis.url,
  })
  await beat.event('schedule-fired')
  await writeFile(schedules, 'schedules: [\n')
  await beat.event('schedules-invalid')
  beat.signal('SIGTERM')
  await beat.exit()
  expect(complaints(beat.lines())).toEqual([])
  for (const line of beat.lines()) expect(line).toMatchObject({ service: 'beat', taskqueue: 'shop', namespace: 'demo' })
})

it('a companion and a scheduler write what the template says', async () => {
  const companion = await said(
    [COMPANION],
    { ...PLACE, TASKQUEUE_COMPANION_PORT: String(await freePort()), TASKQUEUE_BROKER_URL: redis.url },
    /listens on port/,
  )
  expect(complaints(companion)).toEqual([])
  expect(companion[0]).toMatchObject({ service: 'companion', taskqueue: 'shop', namespace: 'demo' })
  const job = join(folder, 'job.mjs')
  await writeFile(
    job,
    `import { Scheduler, every } from '${RUNTIME.href}'
const scheduler = new Scheduler()
scheduler.register('bad', () => { throw new TypeError('no') })
await scheduler.addJob('bad', every(1))
await scheduler.start()
`,
  )
  const lines = await said([job], PLACE, /job-error/)
  expect(complaints(lines)).toEqual([])
  expect(lines[0]).toMatchObject({ service: 'scheduler', taskqueue: 'shop', job: 'bad', error: { type: 'TypeError' } })
})
