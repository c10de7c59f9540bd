// What stands beside the pods, and what the pods know of their Secrets, on a real API server.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  deployments,
  disruptionBudgets,
  networkPolicies,
  pathOf,
  podMonitors,
  pods,
  secrets,
  serviceAccounts,
  services,
  taskQueues,
} from '../../../src/operator/kube/resources.ts'
import type { KubeObject, LiveDeployment, LivePod } from '../../../src/operator/objects.ts'
import { ControlPlane, nodeSpec, podMonitorCrd } from '../../fixtures/controlplane.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'

let plane: ControlPlane
let redis: RedisServer

beforeAll(async () => {
  redis = await startRedis()
  plane = await ControlPlane.start()
  await plane.client.json('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', { body: podMonitorCrd })
  await eventually(() => plane.client.json('GET', pathOf(podMonitors, 'demo')))
  plane.startOperator()
})
afterAll(async () => {
  await plane.stop()
  await redis.close()
})

const spec = (changes?: Record<string, unknown>): Record<string, unknown> => nodeSpec(redis.url, changes)

describe('beside its pods a TaskQueue has', () => {
  it('a ServiceAccount, a headless Service and a budget for each pool, which its pods use', async () => {
    const workers = [
      { name: 'default', replicas: 1 },
      { name: 'slow', replicas: 1 },
    ]
    const queue = await plane.create({ name: 'full', spec: spec({ workers, beat: {} }) })
    const found = await eventually(() =>
      Promise.all([
        plane.get<KubeObject & Record<string, unknown>>(serviceAccounts, 'full-taskqueue'),
        plane.get<KubeObject & Record<string, unknown>>(services, 'full-pods'),
        plane.get<KubeObject & Record<string, unknown>>(disruptionBudgets, 'full-default'),
        plane.get<KubeObject & Record<string, unknown>>(disruptionBudgets, 'full-slow'),
      ]),
    )
    for (const { metadata } of found)
      expect(metadata.ownerReferences).toMatchObject([{ uid: queue.metadata.uid, controller: true }])
    const [account, service, budget] = found
    expect(account).toMatchObject({ automountServiceAccountToken: false })
    expect(service).toMatchObject({
      spec: { clusterIP: 'None', ports: [{ name: 'health' }, { name: 'companion' }] },
    })
    expect(budget).toMatchObject({
      spec: {
        maxUnavailable: 1,
        unhealthyPodEvictionPolicy: 'AlwaysAllow',
        selector: { matchLabels: { 'taskqueue.dev/taskqueue': 'full', 'taskqueue.dev/pool': 'default' } },
      },
    })
    const live = await eventually(() => plane.get<LiveDeployment>(deployments, 'full-default'))
    expect(live.spec.template.spec).toMatchObject({
      serviceAccountName: 'full-taskqueue',
      topologySpreadConstraints: [
        { topologyKey: 'topology.kubernetes.io/zone', whenUnsatisfiable: 'ScheduleAnyway' },
        { topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'ScheduleAnyway' },
      ],
    })
    const beat = await eventually(() => plane.get<LivePod>(pods, 'full-beat'))
    expect(beat.spec).toMatchObject({ serviceAccountName: 'full-taskqueue' })
    await plane.settled('full')
    const before = plane.writesAbout('full')
    await plane.patch('full', { workers: [{ name: 'default', replicas: 1 }] })
    await eventually(async () => expect(await plane.client.get(disruptionBudgets, 'demo', 'full-slow')).toBeUndefined())
    await plane.settled('full')
    expect(plane.writesAbout('full').slice(before.length).join(' ')).not.toContain('services/full-pods')
  })

  it('each of them put right within 5 s when it is deleted or changed by hand', async () => {
    await plane.create({ name: 'drift', spec: spec() })
    await plane.settled('drift')
    const kinds = [
      [serviceAccounts, 'drift-taskqueue'],
      [services, 'drift-pods'],
      [disruptionBudgets, 'drift-default'],
    ] as const
    for (const [kind, name] of kinds) {
      const { metadata } = await plane.get<KubeObject>(kind, name)
      await plane.client.delete(kind, 'demo', name)
      const again = await eventually(async () => {
        const now = await plane.get<KubeObject>(kind, name)
        expect(now.metadata.uid).not.toBe(metadata.uid)
        return now
      }, 5_000)
      expect(again.metadata.name).toBe(name)
    }
    await plane.client.mergePatch(disruptionBudgets, 'demo', 'drift-default', { spec: { maxUnavailable: 3 } }, 'person')
    await eventually(async () => {
      const budget = await plane.get<KubeObject & { spec: object }>(disruptionBudgets, 'drift-default')
      expect(budget.spec).toMatchObject({ maxUnavailable: 1 })
    }, 5_000)
  })

  it('a NetworkPolicy and a PodMonitor when they are asked for, and no longer when they are not', async () => {
    const asked = { networkPolicy: { enabled: true }, podMonitor: { enabled: true, labels: { release: 'prometheus' } } }
    await plane.create({ name: 'asked', spec: spec(asked) })
    const policy = await eventually(() => plane.get<KubeObject & { spec: object }>(networkPolicies, 'asked'))
    expect(policy.spec).toMatchObject({
      podSelector: { matchLabels: { 'taskqueue.dev/taskqueue': 'asked' } },
      policyTypes: ['Ingress'],
      ingress: [{ ports: [{ port: 9808 }, { port: 9809 }] }],
    })
    const monitor = await eventually(() => plane.get<KubeObject & { spec: object }>(podMonitors, 'asked'))
    expect(monitor.metadata.labels).toMatchObject({ release: 'prometheus', 'taskqueue.dev/taskqueue': 'asked' })
    expect(monitor.spec).toMatchObject({
      podMetricsEndpoints: [
        { portNumber: 9808, path: '/metrics' },
        { portNumber: 9809, path: '/metrics' },
      ].map((endpoint) => ({
        ...endpoint,
        relabelings: [
          { sourceLabels: ['__meta_kubernetes_pod_label_taskqueue_dev_taskqueue'], targetLabel: 'taskqueue' },
          { sourceLabels: ['__meta_kubernetes_pod_label_taskqueue_dev_pool'], targetLabel: 'pool' },
          { sourceLabels: ['__meta_kubernetes_pod_label_app_kubernetes_io_component'], targetLabel: 'component' },
        ],
      })),
    })
    await plane.settled('asked')
    await plane.patch('asked', { networkPolicy: { enabled: false }, podMonitor: { enabled: false } })
    for (const kind of [networkPolicies, podMonitors])
      await eventually(async () => expect(await plane.client.get(kind, 'demo', 'asked')).toBeUndefined())
  })

  it("nothing of a stranger's: a Service of that name is left alone, and said", async () => {
    const stranger = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'shy-pods', namespace: 'demo' },
      spec: { ports: [{ port: 80 }] },
    }
    await plane.client.create(stranger, 'person')
    await plane.create({ name: 'shy', spec: spec() })
    const found = await plane.condition('shy', 'Ready', 'False', 'ApplyRefused')
    expect(found.message).toContain('A Service named shy-pods exists')
    expect(await plane.get<KubeObject>(services, 'shy-pods')).toMatchObject({ spec: { ports: [{ port: 80 }] } })
  })
})

describe('the Secret of the broker', () => {
  const REVISION = 'taskqueue.dev/secrets-revision'
  const broker = { urlFrom: { secretKeyRef: { name: 'broker', key: 'url' } } }
  const revisions = async (name: string): Promise<(string | undefined)[]> => [
    (await plane.get<LiveDeployment>(deployments, `${name}-default`)).spec.template.metadata?.annotations?.[REVISION],
    (await plane.get<LivePod>(pods, `${name}-beat`)).metadata.annotations?.[REVISION],
  ]
  const put = async (url: string): Promise<void> => {
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'broker', namespace: 'demo' } }
    const stringData = { url, other: String(Math.random()) }
    if (await plane.client.get(secrets, 'demo', 'broker'))
      await plane.client.mergePatch(secrets, 'demo', 'broker', { stringData }, 'person')
    else await plane.client.create({ ...secret, stringData } as KubeObject, 'person')
  }

  it('rolls the pods when its value changes, which they carry a fingerprint of and not the value', async () => {
    await put(redis.url)
    await plane.create({ name: 'rolls', spec: spec({ broker, beat: {} }) })
    const before = await eventually(async () => {
      const found = await revisions('rolls')
      expect(found[0]).toMatch(/^[0-9a-f]{16}$/)
      expect(found[1]).toBe(found[0])
      return found
    })
    await plane.settled('rolls')
    // Neither a further key of the Secret nor the same value written again is a change.
    await put(redis.url)
    // The value is read again after a minute; a broker that refuses it is looked at anew at once.
    await put(redis.url.replace('redis://', 'redis://nobody:wrong@'))
    const after = await eventually(
      async () => {
        const found = await revisions('rolls')
        expect(found[0]).not.toBe(before[0])
        expect(found[1]).toBe(found[0])
        return found
      },
      75_000,
      500,
    )
    expect(after[0]).toMatch(/^[0-9a-f]{16}$/)
  }, 120_000)

  it('is read anew at once when the broker refuses the one that is known: a password that was changed', async () => {
    const guarded = await startRedis()
    try {
      await put(guarded.url)
      await plane.create({ name: 'rotates', spec: spec({ broker, beat: {} }) })
      await plane.condition('rotates', 'BrokerReachable', 'True')
      const before = await eventually(() => revisions('rotates'))
      await put(guarded.url.replace('redis://', 'redis://:changed@'))
      await guarded.client.config('SET', 'requirepass', 'changed')
      await guarded.client.auth('changed')
      await guarded.client.call('CLIENT', 'KILL', 'TYPE', 'normal')
      await eventually(
        async () => {
          const found = await revisions('rotates')
          expect(found[0]).not.toBe(before[0])
          expect(found[1]).toBe(found[0])
        },
        45_000,
        500,
      )
      await plane.condition('rotates', 'BrokerReachable', 'True')
    } finally {
      await plane.client.delete(taskQueues, 'demo', 'rotates')
      await guarded.close()
    }
  })

  it('that is gone changes nothing of what runs', async () => {
    await put(redis.url)
    await plane.create({ name: 'keeps', spec: spec({ broker, beat: {} }) })
    // What was known of the Secret before may have been tried first: that broker is gone.
    await plane.condition('keeps', 'BrokerReachable', 'True')
    await plane.settled('keeps')
    const before = await eventually(async () => {
      const found = await revisions('keeps')
      expect(found[1]).toBeDefined()
      expect(found[1]).toBe(found[0])
      return found
    })
    await plane.client.delete(secrets, 'demo', 'broker')
    await plane.stopOperator()
    plane.startOperator()
    await plane.condition('keeps', 'BrokerReachable', 'False', 'SecretNotFound')
    await plane.settled('keeps')
    expect(await revisions('keeps')).toEqual(before)
  })
})
