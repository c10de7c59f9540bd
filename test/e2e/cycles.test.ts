// Under load on the real cluster, again and again: scale down, kill a worker in mid-task, update all pods, evict one as a drain does, end the operator that
// leads. No task is lost; only those whose worker was killed run twice. TASKQUEUE_CYCLES says how many cycles; `make faults-cluster` runs 100.

import { setTimeout as delay } from 'node:timers/promises'
import { TaskApp } from '@taskqueue/runtime'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { OPERATOR_NAMESPACE } from '../../deploy/demo/install.ts'
import { PortForward } from '../../deploy/demo/portforward.ts'
import type { LivePod } from '../../src/operator/objects.ts'
import { eventually } from '../fixtures/eventually.ts'
import { NAMESPACE } from './cluster.ts'
import { crash, inE2e, kubectl, ordersQueue, patchSpec, pod } from './scene.ts'

const CYCLES = Number(process.env['TASKQUEUE_CYCLES'] ?? 5)
const NAME = 'cycles'
const SELECTOR = `--selector=taskqueue.dev/taskqueue=${NAME}`
const MOST = 3
/** A task takes up to so long, and one begins so often: about half of the slots are busy. */
const TASK_MS = 2000
const EVERY_MS = 170
/** After a kill: until the lease has ended and another worker has looked. */
const LEASE_MS = 15_000
/** Cycles take 5 to 30 seconds here. */
const CYCLE_DEADLINE_MS = 90_000

/** Changed by each rolling update: it is in the pod, as its grace period and in the worker's environment. */
let maxTaskSeconds = 30
const pool = (replicas: number): object => ({
  name: 'default',
  queues: [NAME],
  concurrency: 4,
  replicas,
  maxTaskSeconds,
  resources: { requests: { cpu: '20m', memory: '64Mi' }, limits: { memory: '256Mi' } },
})
const cycles = ordersQueue(NAME, {
  workers: [pool(MOST)],
})

/** One task: when it was sent and when its result was here, in milliseconds of this process. */
interface Sent {
  readonly id: string
  readonly from: number
  to: number
  redelivered: boolean
}

let forward: PortForward
let app: TaskApp

beforeAll(async () => {
  forward = await PortForward.open(kubectl, NAMESPACE, 'service/redis', 6379)
  app = new TaskApp({ name: 'e2e', brokerUrl: `redis://:demo-only@127.0.0.1:${forward.port}/0` })
  await kubectl.apply(JSON.stringify(cycles))
  await settled(MOST)
})
afterAll(async () => {
  await app.close()
  forward.close()
  await kubectl.attempt('delete', 'taskqueue', NAME, ...inE2e, '--ignore-not-found', '--timeout=90s')
})

async function pods(): Promise<LivePod[]> {
  return (await kubectl.json<{ items: LivePod[] }>('get', 'pods', ...inE2e, SELECTOR)).items
}

const ready = ({ metadata, status }: LivePod): boolean =>
  metadata.deletionTimestamp === undefined &&
  (status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false)

/** So many pods are ready, and none is on its way. */
async function settled(count: number, also: (pod: LivePod) => boolean = () => true): Promise<void> {
  await eventually(
    async () => {
      const all = await pods()
      expect(all.map((pod) => ready(pod) && also(pod))).toEqual(Array.from({ length: count }, () => true))
    },
    CYCLE_DEADLINE_MS,
    250,
  )
}

async function victim(): Promise<string> {
  const name = (await pods()).find(ready)?.metadata.name
  if (name === undefined) throw new Error('no pod is ready')
  return name
}

const kills: number[] = []

/** In the middle of its tasks: a deleted pod would be told first, and would end them or give them back. */
async function killWorker(): Promise<void> {
  const name = await victim()
  const restarts = async (): Promise<number> =>
    (await pod(name)).status?.containerStatuses?.find((container) => container.name === 'worker')?.restartCount ?? 0
  const before = await restarts()
  kills.push(performance.now())
  await crash(name, 'worker')
  await eventually(async () => expect(await restarts()).toBeGreaterThan(before), CYCLE_DEADLINE_MS, 250)
  kills.push(performance.now())
  await settled(MOST)
}

async function scaleDown(): Promise<void> {
  await patchSpec(NAME, { workers: [pool(1)] })
  await settled(1)
  await patchSpec(NAME, { workers: [pool(MOST)] })
  await settled(MOST)
}

async function rollingUpdate(): Promise<void> {
  const hash = ({ metadata: { labels } }: LivePod): string | undefined => labels?.['pod-template-hash']
  const old = new Set((await pods()).map(hash))
  maxTaskSeconds += 1
  await patchSpec(NAME, { workers: [pool(MOST)] })
  await settled(MOST, (pod) => !old.has(hash(pod)))
}

/** What `kubectl drain` asks for. */
async function evictPod(): Promise<void> {
  const name = await victim()
  const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace: NAMESPACE } }
  await kubectl.post(`/api/v1/namespaces/${NAMESPACE}/pods/${name}/eviction`, JSON.stringify(eviction))
  await settled(MOST)
}

/** The leader is ended while the pool changes: another goes on. */
async function endOperator(): Promise<void> {
  const lease = await kubectl.json<{ items: { spec: { holderIdentity?: string } }[] }>(
    ...['get', 'leases', '--namespace', OPERATOR_NAMESPACE],
  )
  const operators = await kubectl.json<{ items: LivePod[] }>(
    ...['get', 'pods', '--namespace', OPERATOR_NAMESPACE, '--selector=app.kubernetes.io/name=taskqueue-operator'],
  )
  const leads = operators.items.find(({ metadata: { name } }) =>
    lease.items.some(({ spec }) => spec.holderIdentity?.includes(name)),
  )
  expect(leads, 'a pod of the operator holds the lease').toBeDefined()
  const name = leads?.metadata.name ?? ''
  await kubectl.run('delete', 'pod', name, '--namespace', OPERATOR_NAMESPACE, '--grace-period=0', '--force')
  await scaleDown()
}

const KINDS = [scaleDown, killWorker, rollingUpdate, evictPod, endOperator] as const

/** Sends tasks at an even pace until it is told to stop; each is noted, with what became of it. */
function load(): { sent: Sent[]; stop: () => Promise<void> } {
  const sent: Sent[] = []
  const results: Promise<void>[] = []
  const pace = new AbortController()
  const loop = (async () => {
    while (!pace.signal.aborted) {
      const id = `cycle-${sent.length}`
      const one: Sent = { id, from: performance.now(), to: Infinity, redelivered: false }
      sent.push(one)
      const task = await app.send('orders.charge', [id, { millis: Math.random() * TASK_MS }], { queue: NAME })
      results.push(
        task.get({ timeoutSeconds: 120 }).then((value) => {
          one.to = performance.now()
          one.redelivered = (value as { redelivered: boolean }).redelivered
        }),
      )
      await delay(EVERY_MS)
    }
  })()
  return {
    sent,
    stop: async () => {
      pace.abort()
      await loop
      await Promise.allSettled(results)
    },
  }
}

it(
  `${CYCLES} cycles lose no task, and only killed workers have tasks run twice`,
  async () => {
    const { sent, stop } = load()
    const began = performance.now()
    try {
      for (let cycle = 0; cycle < CYCLES; cycle++) {
        const kind = KINDS[cycle % KINDS.length] ?? scaleDown
        const from = performance.now()
        await kind()
        const seconds = ((performance.now() - from) / 1000).toFixed(1)
        process.stdout.write(`cycle ${cycle + 1} of ${CYCLES}: ${kind.name}, ${seconds} s, ${sent.length} tasks sent\n`)
      }
    } finally {
      await stop()
    }
    const minutes = ((performance.now() - began) / 60_000).toFixed(1)
    const again = sent.filter(({ redelivered }) => redelivered)
    process.stdout.write(`${sent.length} tasks in ${minutes} min, ${again.length} of them run again after a kill\n`)
    expect(sent.filter(({ to }) => to === Infinity)).toEqual([])
    // It was under way, or waited for its lease to end, when a worker was killed.
    const unexplained = again.filter(({ from, to }) => !kills.some((at) => from <= at && at <= to + LEASE_MS))
    expect(unexplained).toEqual([])
    expect(sent.length).toBeGreaterThan(CYCLES * 5)
    // Half of the slots are busy: of so many kills some hit a task.
    if (CYCLES >= 50) expect(again.length).toBeGreaterThan(0)
  },
  CYCLES * CYCLE_DEADLINE_MS + 240_000,
)
