// The examples as far as they go without a cluster: every TaskQueue of deploy/examples is accepted as written by a real API server, and the
// shop's tasks run in a worker that has what its resource says. On a cluster they are run by the e2e tier.

import { spawn } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { TaskApp } from '@taskqueue/runtime'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { attempt, tied } from '../../../deploy/local/command.ts'
import type { TaskQueue } from '../../../src/operator/taskqueue.ts'
import { ControlPlane } from '../../fixtures/controlplane.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'

const root = join(import.meta.dirname, '../../..')
const examples = join(root, 'deploy/examples')
const command = join(root, 'node_modules/.bin/taskqueue')

const taskQueues = readdirSync(examples, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.yaml') && !file.includes('node_modules'))
  .flatMap((file) => parseAllDocuments(readFileSync(join(examples, file), 'utf8')).map((text) => [file, text] as const))
  .map(([file, text]) => [file, text.toJS() as TaskQueue] as const)
  .filter(([, object]) => object.kind === 'TaskQueue')

describe('the TaskQueues of the examples', () => {
  let plane: ControlPlane
  beforeAll(async () => {
    plane = await ControlPlane.start()
  })
  afterAll(() => plane.stop())

  it.each(taskQueues)('%s is accepted', async (_file, { metadata, spec }) => {
    expect((await plane.create({ name: metadata.name, spec: { ...spec } })).spec.engine).toBe(spec.engine)
  })

  it('are those of all examples', () => {
    expect(taskQueues.map(([, { metadata }]) => metadata.name).sort()).toEqual([
      'mixed-node',
      'mixed-python',
      'orders',
      'reports',
      'shop',
      'timers',
    ])
  })
})

describe('the shop', () => {
  let redis: RedisServer
  let app: TaskApp
  beforeAll(async () => {
    redis = await startRedis()
    app = new TaskApp({ name: 'test', brokerUrl: redis.url })
  })
  afterAll(async () => {
    await app.close()
    await redis.close()
  })

  it('takes an order, sends its mail, reports, and keeps what is wrong among the dead letters', async () => {
    const { spec } = parse(readFileSync(join(examples, 'shop/taskqueue.yaml'), 'utf8')) as TaskQueue
    const queues = (spec.workers ?? []).flatMap((pool) => pool.queues ?? []).join(',')
    const env = { ...process.env, TASKQUEUE_BROKER_URL: redis.url, TASKQUEUE_HEALTH_PORT: '0' }
    const [program, ...args] = tied(command, ['worker', '--app', spec.app ?? '', '--queues', queues])
    const worker = spawn(program, args, { cwd: join(examples, 'shop'), env, stdio: 'ignore' })
    const ended = new Promise((resolve) => worker.once('exit', resolve))
    try {
      const run = async (task: string, given: unknown[], queue: string): Promise<unknown> =>
        (await app.send(task, given, { queue })).get({ timeoutSeconds: 30 })
      const taken = (await run('shop.order', ['A-17', ['tea'], 'ada'], 'shop-orders')) as {
        mail: string
        lines: number
      }
      expect(taken.lines).toBe(1)
      const mail = await app.result(taken.mail).get({ timeoutSeconds: 30 })
      expect(mail).toEqual({ to: 'ada', subject: 'Your order A-17' })
      for (const { task, queue } of spec.beat?.schedules ?? [])
        expect(await run(task, [], queue ?? '')).toMatchObject({
          night: expect.stringMatching(/^\d{4}-\d\d-\d\d$/) as string,
        })
      await expect(run('shop.order', ['A-18', [], 'ada'], 'shop-orders')).rejects.toThrow(/no lines/)
      await eventually(async () =>
        expect((await attempt(command, ['dead', 'list', '--json'], { env })).stdout).toContain('A-18'),
      )
    } finally {
      worker.kill('SIGTERM')
      expect(await ended).toBe(0)
    }
  })
})
