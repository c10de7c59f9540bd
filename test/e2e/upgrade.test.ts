// From the previous release to this one, back, and away, by Helm on the real cluster while tasks run: no pod of a TaskQueue is touched, no task
// is run twice, and the CRD is that of the release. What else a release does is in taskqueue.test.ts.

import { TaskApp } from '@taskqueue/runtime'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { installOperator, OPERATOR_NAMESPACE, RELEASE } from '../../deploy/demo/install.ts'
import { PortForward } from '../../deploy/demo/portforward.ts'
import type { KubeObject, LivePod } from '../../src/operator/objects.ts'
import { eventually } from '../fixtures/eventually.ts'
import { NAMESPACE } from './cluster.ts'
import { NEW_FIELD, previousChart, PREVIOUS_VERSION } from './previous.ts'
import { condition, inE2e, kubectl, ordersQueue, patchSpec, queue } from './scene.ts'

const NAME = 'steady'
/** Of the pods of the TaskQueue that this file makes; `orders` and `reports` are of the set-up. */
const OF_TASKQUEUES = ['--selector', 'taskqueue.dev/taskqueue']
const OPERATOR = ['--namespace', OPERATOR_NAMESPACE, '--selector', 'app.kubernetes.io/name=taskqueue-operator']
const CRD = ['customresourcedefinition', 'taskqueues.taskqueue.dev']
/** A task outlasts the change of the operator. */
const TASK_MS = 20_000
const TASKS = 8

const steady = ordersQueue(NAME, {
  taskDefaults: { queue: NAME },
  workers: [
    {
      name: 'default',
      queues: [NAME],
      concurrency: 8,
      replicas: 2,
      maxTaskSeconds: 90,
      resources: { requests: { cpu: '20m', memory: '64Mi' }, limits: { memory: '256Mi' } },
    },
  ],
  beat: {
    schedules: [{ name: 'sweep', task: 'carts.sweep', everySeconds: 5, queue: NAME, misfireGraceSeconds: 120 }],
    resources: { requests: { cpu: '10m', memory: '48Mi' }, limits: { memory: '192Mi' } },
  },
})

let forward: PortForward
let app: TaskApp

const upToDate = (): Promise<void> => installOperator(kubectl, inject('operatorImage'), inject('operatorValues'))

beforeAll(async () => {
  await installOperator(kubectl, inject('previousImage'), inject('operatorValues'), previousChart())
  forward = await PortForward.open(kubectl, NAMESPACE, 'service/redis', 6379)
  app = new TaskApp({ name: 'e2e', brokerUrl: `redis://:demo-only@127.0.0.1:${forward.port}/0` })
  await kubectl.apply(JSON.stringify(steady))
  await reconciled()
})
afterAll(async () => {
  await app.close()
  forward.close()
  await upToDate()
  await kubectl.attempt('delete', 'taskqueue', NAME, ...inE2e, '--ignore-not-found', '--timeout=90s')
})

/** The operator that runs now has looked at the spec as it is now, and all of it is there. */
async function reconciled(): Promise<void> {
  await eventually(
    async () => {
      const { metadata, status } = await queue(NAME)
      expect(status?.observedGeneration).toBe(metadata.generation)
    },
    60_000,
    250,
  )
  await condition(NAME, 'Ready', 'True', { deadlineMs: 120_000 })
}

/** Each pod of a TaskQueue, with all that would tell that it was replaced, restarted or rolled. */
async function userPods(): Promise<string[]> {
  const { items } = await kubectl.json<{ items: LivePod[] }>('get', 'pods', ...inE2e, ...OF_TASKQUEUES)
  return items
    .map(({ metadata, spec, status }) => {
      const containers = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])]
      const images = [...(spec.initContainers ?? []), ...spec.containers].map(({ image }) => image)
      const restarts = containers.map(({ name, restartCount }) => `${name} ${restartCount}`)
      return [metadata.name, metadata.uid, metadata.deletionTimestamp ?? 'stays', ...restarts, ...images].join(' ')
    })
    .sort()
}

async function operatorImages(): Promise<string[]> {
  const { items } = await kubectl.json<{ items: LivePod[] }>('get', 'pods', ...OPERATOR)
  const live = items.filter(({ metadata }) => metadata.deletionTimestamp === undefined)
  return live.flatMap(({ spec }) => spec.containers.map(({ image }) => image ?? ''))
}

/** No other operator is there any more; Helm waits for the new ones only. */
async function runs(image: string): Promise<void> {
  await eventually(async () => expect(new Set(await operatorImages())).toEqual(new Set([image])), 60_000, 250)
}

const hasNewField = async (): Promise<boolean> =>
  (await kubectl.run('get', ...CRD, '--output', `jsonpath={..properties.spec.properties.${NEW_FIELD}.type}`)) !== ''

/** Tasks that run while `change` is made, and pods before it and after it. */
async function during(change: () => Promise<unknown>): Promise<void> {
  const before = await userPods()
  expect(before.some((pod) => pod.startsWith(`${NAME}-default`) && pod.includes(inject('previousImage')))).toBe(true)
  const sent = await Promise.all(
    Array.from({ length: TASKS }, (_, at) =>
      app.send('orders.charge', [`u${at}`, { millis: TASK_MS }], { queue: NAME }),
    ),
  )
  await eventually(
    async () => expect((await app.transport.depth([NAME])).queues[0]?.inFlight).toBeGreaterThanOrEqual(TASKS),
    30_000,
    250,
  )
  await change()
  const results = await Promise.all(sent.map((task) => task.get({ timeoutSeconds: 120 })))
  expect(results).toEqual(results.map(() => expect.objectContaining({ charged: true, redelivered: false }) as unknown))
  expect(await userPods()).toEqual(before)
}

/** The operator still does its work: a change of the spec is carried out, and touches no worker. */
async function scales(replicas: number, spec: object = {}): Promise<void> {
  const pool = { ...steady.spec.workers[0], replicas }
  await patchSpec(NAME, { workers: [pool], ...spec })
  await reconciled()
  expect((await queue(NAME)).status?.workers).toBe(`${replicas}/${replicas}`)
  // Those that were too many are on their way out for a while.
  await eventually(
    async () => expect((await userPods()).filter((pod) => pod.startsWith(`${NAME}-default-`))).toHaveLength(replicas),
    60_000,
    250,
  )
}

describe('helm upgrade from the previous release', () => {
  it('brings the new CRD and the new operator, while tasks run on and no pod is rolled', async () => {
    expect(await hasNewField()).toBe(false)
    await runs(inject('previousImage'))
    await during(upToDate)
    expect(await hasNewField()).toBe(true)
    await runs(inject('operatorImage'))
  })

  it('leaves an operator that carries out changes, also of a field that is new', async () => {
    await scales(3, { [NEW_FIELD]: { idleQueueSeconds: 7200 } })
    expect(await queue(NAME)).toMatchObject({ spec: { [NEW_FIELD]: { idleQueueSeconds: 7200 } } })
  })
})

describe('helm rollback', () => {
  it('brings the previous CRD and operator back, while tasks run on and no pod is rolled', async () => {
    await during(() =>
      kubectl.helm('rollback', RELEASE, '--namespace', OPERATOR_NAMESPACE, '--wait', '--timeout', '180s'),
    )
    expect(await hasNewField()).toBe(false)
    await runs(inject('previousImage'))
    const told = await kubectl.helm('list', '--namespace', OPERATOR_NAMESPACE, '--output', 'json')
    expect(JSON.parse(told)).toMatchObject([{ name: RELEASE, app_version: PREVIOUS_VERSION, status: 'deployed' }])
  })

  it('leaves an operator that carries out changes; a field that the CRD lacks is gone', async () => {
    await scales(2)
    expect((await queue(NAME)).spec).not.toHaveProperty(NEW_FIELD)
  })
})

describe('helm uninstall', () => {
  it('leaves the CRD, every TaskQueue and its pods, and tasks run on; the next install goes on with them', async () => {
    const names = async (): Promise<string> => kubectl.run('get', 'taskqueues', ...inE2e, '--output', 'name')
    const before = await names()
    await during(() => kubectl.helm('uninstall', RELEASE, '--namespace', OPERATOR_NAMESPACE, '--wait'))
    expect(await kubectl.json<KubeObject>('get', ...CRD)).toMatchObject({ metadata: { name: CRD[1] } })
    expect(await names()).toBe(before)
    const pods = await userPods()
    await upToDate()
    await scales(1)
    const kept = await userPods()
    expect(pods).toEqual(expect.arrayContaining(kept))
    expect(kept).toHaveLength(pods.length - 1)
  })
})
