// The chart's rights on a real API server: the operator runs with them alone, is refused nothing, and uses every one of them.

import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { ensureBinary } from '../../../deploy/local/binaries.ts'
import { Stages } from '../../../deploy/local/stage.ts'
import { systemClock } from '../../../src/operator/clock.ts'
import { KubeClient } from '../../../src/operator/kube/client.ts'
import { LeaderLease } from '../../../src/operator/kube/lease.ts'
import {
  configMaps,
  deployments,
  disruptionBudgets,
  networkPolicies,
  pathOf,
  podMonitors,
  pods,
  services,
  supportKinds,
  taskQueues,
  volumeClaims,
} from '../../../src/operator/kube/resources.ts'
import type { KubeObject } from '../../../src/operator/objects.ts'
import type { TaskQueue } from '../../../src/operator/taskqueue.ts'
import { ControlPlane, nodeSpec, podMonitorCrd } from '../../fixtures/controlplane.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'

const run = promisify(execFile)
const CHART = join(import.meta.dirname, '../../../charts/taskqueue-operator')
const RELEASE = 'taskqueue-operator'
const HOME = 'taskqueue-system'
const USER = `system:serviceaccount:${HOME}:${RELEASE}`

interface Rule {
  readonly apiGroups: string[]
  readonly resources: string[]
  readonly verbs: string[]
}

let plane: ControlPlane
let redis: RedisServer
let folder: string
let rights: (KubeObject & { rules?: Rule[] })[]
let kubeconfig: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'taskqueue-rbac-'))
  redis = await startRedis()
  plane = await ControlPlane.start()
  await plane.client.json('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', { body: podMonitorCrd })
  await plane.client.json('POST', '/api/v1/namespaces', {
    body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name: HOME } },
  })
  const helm = join(await ensureBinary('helm', new Stages(() => undefined)), 'helm')
  const only = ['rbac', 'serviceaccount'].flatMap((name) => ['--show-only', `templates/${name}.yaml`])
  const { stdout } = await run(helm, ['template', RELEASE, CHART, '--namespace', HOME, ...only])
  rights = parseAllDocuments(stdout).map((document) => document.toJS() as (typeof rights)[number])
  const manifest = join(folder, 'rights.yaml')
  await writeFile(manifest, stdout)
  const admin = ['--kubeconfig', plane.server.kubeconfig]
  await run(plane.server.kubectl, [...admin, 'apply', '-f', manifest])
  const token = (await run(plane.server.kubectl, [...admin, 'create', 'token', RELEASE, '--namespace', HOME])).stdout
  kubeconfig = await plane.kubeconfigFor({ user: { token: token.trim() } }, join(folder, 'kubeconfig'))
})
afterAll(async () => {
  await plane.stop()
  await redis.close()
  await rm(folder, { recursive: true, force: true })
})

/** Leads as the operator's process does, and gives it up. */
async function lead(): Promise<void> {
  const client = KubeClient.fromFile(kubeconfig, systemClock)
  const where = { namespace: HOME, name: 'taskqueue-operator', identity: 'test' }
  const lease = new LeaderLease(client, systemClock, where, () => undefined)
  await lease.acquire(new AbortController().signal)
  await lease.release()
  client.close()
}

const gone = (resource: Parameters<KubeClient['get']>[0], name: string): Promise<void> =>
  eventually(async () => expect(await plane.client.get(resource, 'demo', name)).toBeUndefined())

/** All that an operator does in its life, with these rights. */
async function live(): Promise<void> {
  const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'broker', namespace: 'demo' } }
  await plane.client.create({ ...secret, stringData: { url: redis.url } } as KubeObject, 'person')
  const pool = (name: string): object => ({ name, replicas: 1 })
  const spec = nodeSpec(redis.url, {
    broker: { urlFrom: { secretKeyRef: { name: 'broker', key: 'url' } } },
    workers: [pool('default'), pool('other')],
    beat: { schedules: [{ name: 'a', task: 't', everySeconds: 30 }] },
    networkPolicy: { enabled: true },
    podMonitor: { enabled: true },
  })
  await plane.create({ name: 'all', spec })
  await plane.condition('all', 'BrokerReachable', 'True')
  for (const [resource, name] of [
    [podMonitors, 'all'],
    [networkPolicies, 'all'],
    [pods, 'all-beat'],
  ] as const)
    await eventually(() => plane.get(resource, name))
  // Everything is changed by hand once, and put right.
  await plane.client.mergePatch(services, 'demo', 'all-pods', { spec: { publishNotReadyAddresses: false } }, 'person')
  await plane.patch('all', { workers: [{ name: 'default', replicas: 3 }, pool('other')] })
  await eventually(async () => {
    const found = await plane.get<KubeObject & { spec: { replicas: number } }>(deployments, 'all-default')
    expect(found.spec.replicas).toBe(3)
  })
  // Of schedules alone the beat Pod is touched and stays.
  await plane.patch('all', { beat: { schedules: [{ name: 'a', task: 't', everySeconds: 60 }] } })
  await eventually(async () => {
    const found = await plane.get<KubeObject & { data: Record<string, string> }>(configMaps, 'all-schedules')
    expect(found.data['schedules.yaml']).toContain('60')
  })
  await plane.patch('all', {
    workers: [pool('default')],
    beat: null,
    networkPolicy: { enabled: false },
    podMonitor: { enabled: false },
  })
  await gone(deployments, 'all-other')
  await gone(disruptionBudgets, 'all-other')
  await gone(configMaps, 'all-schedules')
  await gone(networkPolicies, 'all')
  await gone(podMonitors, 'all')
  await eventually(async () => {
    const claim = await plane.client.get<KubeObject>(volumeClaims, 'demo', 'all-beat')
    expect(claim?.metadata.deletionTimestamp ?? 'gone').toBeTruthy()
  })
  await eventually(async () => {
    const queue = await plane.get<TaskQueue>(taskQueues, 'all')
    expect(queue.status?.observedGeneration).toBe(queue.metadata.generation)
  })
}

const name = (group: string, resource: string, verb: string): string => `${verb} ${resource}${group && `.${group}`}`

const supportsAndChildren = [deployments, pods, configMaps, volumeClaims, ...supportKinds, podMonitors]
const groupOf = (apiVersion: string): string => (apiVersion.includes('/') ? (apiVersion.split('/')[0] ?? '') : '')

describe("the chart's rights", () => {
  it('are enough, and none of them is for nothing', async () => {
    await eventually(() => plane.client.json('GET', pathOf(podMonitors, 'demo')))
    await lead()
    plane.startOperator('registry.example/operator:1', { kubeconfig, leaseNamespace: HOME })
    await live()
    await plane.stopOperator()

    const asked = plane.audit().filter((event) => event.user?.username === USER)
    const refused = asked.filter(({ responseStatus }) => responseStatus?.code === 403)
    expect(refused.map(({ verb, requestURI }) => `${verb} ${requestURI}`)).toEqual([])
    const used = new Set(
      asked.flatMap(({ verb, objectRef, responseStatus }) => {
        const { apiGroup = '', resource = '', subresource } = objectRef ?? {}
        const whole = subresource === undefined ? resource : `${resource}/${subresource}`
        // An apply of what was not there is a patch that needs the right to create.
        const created = verb === 'patch' && responseStatus?.code === 201 ? [name(apiGroup, whole, 'create')] : []
        return [name(apiGroup, whole, verb), ...created]
      }),
    )
    const granted = rights.flatMap(({ rules = [] }) =>
      rules.flatMap(({ apiGroups, resources, verbs }) =>
        apiGroups.flatMap((group) => resources.flatMap((resource) => verbs.map((verb) => name(group, resource, verb)))),
      ),
    )
    // Asked for by clusters only that check owner references (the admission plugin OwnerReferencesPermissionEnforcement).
    const known = ['update taskqueues/finalizers.taskqueue.dev']
    // Used only when the name of a child is taken: creating it says so.
    const taken = supportsAndChildren.map(({ apiVersion, plural }) => name(groupOf(apiVersion), plural, 'get'))
    const others = [...new Set(granted)].filter((right) => !known.includes(right) && !taken.includes(right))
    expect(others.filter((right) => !used.has(right))).toEqual([])
  })
})
