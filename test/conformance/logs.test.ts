// The Celery example's log lines, by Python's own logging, against the index template that Node's lines are held against.
import { fileURLToPath } from 'node:url'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { TaskApp } from '../../src/runtime/app.ts'
import { tied } from '../../deploy/local/command.ts'
import { complaints } from '../fixtures/log-schema.ts'
import { startRedis, type RedisServer } from '../fixtures/redis-server.ts'
import { until } from '../fixtures/until.ts'
import { celeryBin } from './support/celery.ts'

const EXAMPLE = fileURLToPath(new URL('../../deploy/examples/reports-app', import.meta.url))

let redis: RedisServer
let app: TaskApp

beforeAll(async () => {
  redis = await startRedis()
  app = new TaskApp({ name: 'test', env: { TASKQUEUE_BROKER_URL: redis.url } })
})
afterAll(async () => {
  await app.close()
  await redis.close()
})

it('a Celery worker with jsonlog.py writes the fields that a Node worker writes', async () => {
  const [program, ...args] = tied(join(await celeryBin('5.7'), 'celery'), [
    '-A',
    'reports',
    'worker',
    '-P',
    'solo',
    '-l',
    'INFO',
  ])
  const env = {
    ...process.env,
    PYTHONPATH: EXAMPLE,
    PYTHONDONTWRITEBYTECODE: '1',
    CELERY_BROKER_URL: redis.url,
    CELERY_RESULT_BACKEND: redis.url,
    TASKQUEUE_NAME: 'reports',
    TASKQUEUE_NAMESPACE: 'demo',
    KUBERNETES_SERVICE_HOST: '10.0.0.1',
  }
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'ignore'] })
  let out = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  const lines = (): Record<string, unknown>[] =>
    out
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as Record<string, unknown>)
  const ended = new Promise((resolve) => child.once('exit', resolve))
  try {
    const good = await app.send('reports.build', ['quarter', 0.01])
    const bad = await app.send('reports.build', ['quarter', 'long'])
    const of = (id: string, event: string): Promise<object> =>
      until(`${event} is told`, () => lines().find((line) => line['taskId'] === id && line['event'] === event), 40)
    const fields = {
      service: 'reports',
      taskqueue: 'reports',
      namespace: 'demo',
      task: 'reports.build',
      queue: 'celery',
      attempt: 1,
    }
    expect(await of(good.id, 'task-succeeded')).toMatchObject({ ...fields, level: 'info', rootId: good.id })
    expect(await of(bad.id, 'task-failed')).toMatchObject({
      ...fields,
      level: 'error',
      error: { type: 'TypeError', stack: expect.stringContaining('reports.py') as string },
    })
    expect(complaints(lines())).toEqual([])
    expect(out).not.toContain('quarter')
  } finally {
    child.kill('SIGKILL')
    await ended
  }
})
