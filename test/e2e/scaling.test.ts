// A pool on the real cluster that goes from no pod to four for a backlog, and to one while tasks still run: each task runs once.

import { spawn, type ChildProcess } from 'node:child_process'
import { TaskApp } from '@taskqueue/runtime'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { PortForward } from '../../deploy/demo/portforward.ts'
import { tied } from '../../deploy/local/command.ts'
import type { LivePod } from '../../src/operator/objects.ts'
import { eventually } from '../fixtures/eventually.ts'
import { NAMESPACE } from './cluster.ts'
import { inE2e, kubectl, ordersQueue } from './scene.ts'

const TASKS = 40
const TASK_MS = 20_000
/** The last few take longer, so that some certainly run while the pool shrinks. */
const LONGER = 4
const LONGER_MS = 45_000

const batch = ordersQueue('batch', {
  workers: [
    {
      name: 'default',
      queues: ['batch'],
      concurrency: 5,
      autoscale: { minReplicas: 0, maxReplicas: 4, backlogPerReplica: 10, cooldownSeconds: 3 },
      maxTaskSeconds: 60,
      resources: { requests: { cpu: '20m', memory: '64Mi' }, limits: { memory: '256Mi' } },
    },
  ],
})

let forward: PortForward
let app: TaskApp
const followers: ChildProcess[] = []
let said = ''

beforeAll(async () => {
  forward = await PortForward.open(kubectl, NAMESPACE, 'service/redis', 6379)
  app = new TaskApp({ name: 'e2e', brokerUrl: `redis://:demo-only@127.0.0.1:${forward.port}/0` })
  await kubectl.apply(JSON.stringify(batch))
})
afterAll(async () => {
  for (const child of followers) child.kill('SIGTERM')
  await app.close()
  forward.close()
  await kubectl.attempt('delete', 'taskqueue', 'batch', ...inE2e, '--ignore-not-found', '--timeout=90s')
})

async function pods(): Promise<LivePod[]> {
  const listed = await kubectl.json<{ items: LivePod[] }>(
    'get',
    'pods',
    ...inE2e,
    '--selector=taskqueue.dev/taskqueue=batch',
  )
  return listed.items
}

/** Reads a worker's log until it ends, also when the pod is gone by then. */
function follow(pod: string): void {
  const args = ['logs', '--follow', pod, ...inE2e, '--container', 'worker']
  const [program, ...rest] = tied('kubectl', args)
  const child = spawn(program, rest, { env: kubectl.env, stdio: ['ignore', 'pipe', 'ignore'] })
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
  followers.push(child)
}

it('40 tasks of 20 s bring four pods up from none, which go to one while some run: none is killed, none runs twice', async () => {
  await eventually(
    async () => {
      const { status } = await kubectl.json<{ status: { observedGeneration?: number } }>(
        'get',
        'deployment',
        'batch-default',
        ...inE2e,
      )
      expect(status.observedGeneration).toBeDefined()
    },
    60_000,
    250,
  )
  expect(await pods()).toEqual([])
  const ids = Array.from({ length: TASKS }, (_, i) => `batch-${i}`)
  const results = ids.map(async (id, i) => {
    const millis = i < TASKS - LONGER ? TASK_MS : LONGER_MS
    return (await app.send('orders.charge', [id, { millis }], { queue: 'batch' })).get({ timeoutSeconds: 240 })
  })
  const published = Date.now()
  let done = 0
  for (const result of results) void result.then(() => (done += 1))
  const four = await eventually(
    async () => {
      const ready = (await pods()).filter(({ status }) =>
        status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True'),
      )
      expect(ready).toHaveLength(4)
      return ready
    },
    90_000,
    500,
  )
  for (const { metadata } of four) follow(metadata.name)

  // Down to one by those that have nothing left to do, while tasks still run.
  const whenOne = await eventually(
    async () => {
      const replicas = await kubectl.run(
        'get',
        'deployment',
        'batch-default',
        ...inE2e,
        '--output=jsonpath={.spec.replicas}',
      )
      expect(Number(replicas)).toBeLessThanOrEqual(1)
      return done
    },
    180_000,
    100,
  )
  expect(whenOne, 'tasks still ran when the pool was made small').toBeLessThan(TASKS)
  for (const [i, result] of (await Promise.all(results)).entries())
    expect(result).toMatchObject({ orderId: ids[i], charged: true, redelivered: false })
  await eventually(async () => expect(await pods()).toHaveLength(0), 90_000, 500)

  const lines = said
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map(
      (line) =>
        JSON.parse(line) as { event?: string; time?: string; orderId?: string; givenBack?: number; msg?: string },
    )
  // A figure and no limit: machines differ. `time` is when a task has ended.
  const ends = lines.filter(({ orderId }) => orderId !== undefined).map(({ time = '' }) => Date.parse(time))
  const waited = (Math.min(...ends) - TASK_MS - published) / 1000
  process.stdout.write(`the first task began ${waited.toFixed(1)} s after it was published, from no pod\n`)
  const charged = lines.flatMap(({ orderId }) => (orderId === undefined ? [] : [orderId]))
  expect(charged.toSorted()).toEqual(ids.toSorted())
  // Each pod ended by itself, and gave nothing back.
  expect(lines.filter(({ event }) => event === 'worker-stopped').map(({ givenBack: given }) => given)).toEqual([
    0, 0, 0, 0,
  ])
  const events = await kubectl.run('get', 'events', ...inE2e, '--field-selector=involvedObject.name=batch')
  expect(events).toMatch(/Scaled pool default from 0 to 4 pods: \d+ waiting and \d+ in flight at 10 a pod call for 4/)
  expect(events).toContain('take nothing more and go when idle')
})
