// A pool on a real API server, with a real worker process in the place of each of its pods: it shrinks by those that have nothing to do,
// and a HorizontalPodAutoscaler takes it over and gives it back.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { deployments, pathOf, pods, taskQueues } from '../../../src/operator/kube/resources.ts'
import type { KubeObject, LiveDeployment, LivePod } from '../../../src/operator/objects.ts'
import type { TaskQueue } from '../../../src/operator/taskqueue.ts'
import { TaskApp } from '../../../src/runtime/app.ts'
import { ControlPlane, nodeSpec } from '../../fixtures/controlplane.ts'
import { endAll, startWorker, type Process } from '../../fixtures/command.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'
import { begun, ended, newLedger } from '../runtime/support/ledger.ts'

let plane: ControlPlane
let redis: RedisServer

beforeAll(async () => {
  redis = await startRedis()
  plane = await ControlPlane.start()
  plane.startOperator()
})
afterAll(async () => {
  await endAll()
  await plane.stop()
  await redis.close()
})

const podsOf = async (name: string): Promise<LivePod[]> => {
  const selector = { labelSelector: `taskqueue.dev/taskqueue=${name},taskqueue.dev/pool` }
  const list = (await plane.client.json('GET', pathOf(pods, 'demo'), { query: selector })) as { items: LivePod[] }
  return list.items.filter(({ metadata }) => metadata.deletionTimestamp === undefined)
}

const replicasOf = async (name: string): Promise<number | undefined> =>
  (await plane.get<LiveDeployment>(deployments, name)).spec.replicas

/** The kubelet's part: a worker runs as this pod, which is ready. */
async function runAs({ metadata: { name, uid = '' } }: LivePod, taskQueue: string): Promise<Process> {
  const status = {
    phase: 'Running',
    conditions: [{ type: 'Ready', status: 'True' }],
    containerStatuses: [
      { name: 'worker', ready: true, restartCount: 0, image: 'i', imageID: 'i', state: { running: {} } },
    ],
  }
  await plane.client.json('PATCH', `${pathOf(pods, 'demo', name)}/status`, {
    body: { status },
    contentType: 'application/merge-patch+json',
  })
  const env = { TASKQUEUE_NAMESPACE: 'demo', TASKQUEUE_NAME: taskQueue, TASKQUEUE_POD_UID: uid }
  return startWorker(redis.url, { queues: 'default', concurrency: 1, env, args: ['--hostname', name] })
}

describe('a pool that shrinks by backlog', () => {
  it('loses the pods that have nothing to do, which take nothing more before they go, and never one that works', async () => {
    const app = new TaskApp({ name: 'test', env: { TASKQUEUE_BROKER_URL: redis.url } })
    const ledger = newLedger()
    const autoscale = { minReplicas: 1, maxReplicas: 4, backlogPerReplica: 1, cooldownSeconds: 0 }
    await plane.create({
      name: 'shrinks',
      spec: nodeSpec(redis.url, { workers: [{ name: 'default', queues: ['default'], autoscale }] }),
    })
    try {
      for (let i = 0; i < 4; i++) await app.send('test.note', [ledger, `first-${i}`, 20_000], { queue: 'default' })
      await until('there are four pods', async () => (await podsOf('shrinks')).length === 4, 40)
      const first = await podsOf('shrinks')
      // At once: a pod that has not begun while the tasks of others end may go without having drained.
      const workers = await Promise.all(
        first.map(async (pod) => [pod.metadata.name, await runAs(pod, 'shrinks')] as const),
      )
      await until('each works', () => begun(ledger).length === 4)
      // One works on; the others end.
      await app.send('test.note', [ledger, 'long', 60_000], { queue: 'default' })
      await until('only one works', () => ended(ledger).length === 4 && begun(ledger, 'long').length === 1, 60)
      const pid = begun(ledger, 'long')[0]?.pid
      const busy = workers.find(([, worker]) => worker.pid === pid)?.[0]
      await until(
        'the others are gone',
        async () => {
          const left = new Set((await podsOf('shrinks')).map(({ metadata }) => metadata.name))
          // The kubelet's part: a process without its pod would hear that it is not asked to go any more.
          for (const [name, worker] of workers)
            if (!left.has(name) && worker.child.exitCode === null) worker.signal('SIGKILL')
          return left.size === 1
        },
        60,
      )
      expect((await podsOf('shrinks')).map(({ metadata }) => metadata.name)).toEqual([busy])
      for (const [name, worker] of workers) {
        const last = worker.lines().findLast(({ event }) => event === 'worker-draining' || event === 'worker-resumed')
        expect([name, last?.['event'] === 'worker-draining']).toEqual([name, name !== busy])
      }
      expect(ended(ledger).map(({ tag }) => tag)).not.toContain('long')
      // The one that is left is not marked, and takes what comes.
      const [left] = await podsOf('shrinks')
      expect(left?.metadata.annotations ?? {}).not.toHaveProperty('controller.kubernetes.io/pod-deletion-cost')
    } finally {
      await endAll()
      await app.close()
      await plane.client.delete(taskQueues, 'demo', 'shrinks')
    }
  })
})

describe('a pool that says no number', () => {
  it("is a HorizontalPodAutoscaler's, and handing it over and back never passes through another number", async () => {
    const workers = (more: object): Record<string, unknown> => ({ workers: [{ name: 'handed', ...more }] })
    await plane.create({ name: 'hpa', spec: nodeSpec(redis.url, workers({ replicas: 3 })) })
    await eventually(async () => expect(await replicasOf('hpa-handed')).toBe(3))
    await plane.settled('hpa')
    const seen = await record('hpa-handed')
    const autoscaler = {
      apiVersion: 'autoscaling/v2',
      kind: 'HorizontalPodAutoscaler',
      metadata: { name: 'handed', namespace: 'demo' },
      spec: {
        scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'hpa-handed' },
        minReplicas: 5,
        maxReplicas: 8,
        metrics: [
          { type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 80 } } },
        ],
      },
    }
    const path = '/apis/autoscaling/v2/namespaces/demo/horizontalpodautoscalers'
    // Given up first: two owners of one number would fight.
    await plane.patch('hpa', workers({}))
    await plane.settled('hpa')
    expect(await replicasOf('hpa-handed')).toBe(3)
    await plane.client.json('POST', path, { body: autoscaler })
    await until('it has scaled', async () => (await replicasOf('hpa-handed')) === 5, 60)
    await plane.settled('hpa')
    expect((await plane.get<TaskQueue>(taskQueues, 'hpa')).status?.pools).toMatchObject([{ name: 'handed', wanted: 5 }])
    await plane.client.json('DELETE', `${path}/handed`)
    await plane.patch('hpa', workers({ replicas: 4 }))
    await until('the operator has it again', async () => (await replicasOf('hpa-handed')) === 4)
    await plane.settled('hpa')
    expect(seen.end()).toEqual([3, 5, 4])
  })
})

/** Every number that a Deployment has from now on, in order, from a watch of its own. */
async function record(name: string): Promise<{ end: () => number[] }> {
  const found: number[] = []
  const stop = new AbortController()
  const query = { watch: 'true', fieldSelector: `metadata.name=${name}` }
  const stream = await plane.client.open('GET', pathOf(deployments, 'demo'), { query, signal: stop.signal })
  stream.on('error', () => undefined)
  let text = ''
  stream.on('data', (chunk: Buffer) => {
    const lines = (text + chunk.toString()).split('\n')
    text = lines.pop() ?? ''
    for (const line of lines) {
      const { object } = JSON.parse(line) as { object: LiveDeployment & KubeObject }
      const { replicas = 1 } = object.spec
      if (found.at(-1) !== replicas) found.push(replicas)
    }
  })
  return {
    end: () => {
      stop.abort()
      return found
    },
  }
}
