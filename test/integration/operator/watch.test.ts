// Lists and watches on a real API server in real trouble: what the cache knows is the truth again, by itself, whatever happened.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/operator/clock.ts'
import { KubeClient } from '../../../src/operator/kube/client.ts'
import { configMaps } from '../../../src/operator/kube/resources.ts'
import { Watch, type WatchOptions, type WatchSink } from '../../../src/operator/kube/watch.ts'
import type { LiveConfigMap } from '../../../src/operator/objects.ts'
import { ControlPlane } from '../../fixtures/controlplane.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { startTroubledNetwork, type TroubledNetwork } from '../../fixtures/troubled-network.ts'

const LABEL = { 'example.org/watched': 'yes' }
/** So many times 0.9 MB are more than the kernel's buffers hold. */
const LARGE = 30
const SELECTOR = 'example.org/watched=yes'

let plane: ControlPlane
let folder: string
let network: TroubledNetwork
let stop: AbortController
let running: Promise<void>[]
let clients: KubeClient[]

beforeAll(async () => {
  plane = await ControlPlane.start()
})
afterAll(() => plane.stop())
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'taskqueue-watch-'))
  network = await startTroubledNetwork(Number(new URL(plane.server.url).port))
  stop = new AbortController()
  running = []
  clients = []
})
afterEach(async () => {
  stop.abort()
  await Promise.all(running)
  for (const client of clients) client.close()
  await network.close()
  await plane.client.json('DELETE', '/api/v1/namespaces/demo/configmaps', { query: { labelSelector: SELECTOR } })
  await rm(folder, { recursive: true, force: true })
})

/** What a watch has told so far. */
class Told implements WatchSink<LiveConfigMap> {
  readonly objects = new Map<string, string>()
  lists = 0
  readonly troubles: string[] = []

  replace(objects: LiveConfigMap[]): void {
    this.lists += 1
    this.objects.clear()
    for (const object of objects) this.upsert(object)
  }
  upsert({ metadata, data }: LiveConfigMap): void {
    this.objects.set(metadata.name, data?.['value'] ?? '')
  }
  remove({ metadata }: LiveConfigMap): void {
    this.objects.delete(metadata.name)
  }
}

/** A kubeconfig that goes through the network, or to another port, with other credentials if any are given. */
const throughNetwork = (user?: object, port = network.port): Promise<string> =>
  plane.kubeconfigFor({ port, ...(user ? { user } : {}) }, join(folder, `kubeconfig-${port}`))

function watch(kubeconfig: string, options: Partial<WatchOptions> = {}): Told {
  const told = new Told()
  const client = KubeClient.fromFile(kubeconfig, systemClock)
  clients.push(client)
  const target = { resource: configMaps, namespace: 'demo', labelSelector: SELECTOR }
  const tell = (message: string): void => void told.troubles.push(message)
  running.push(new Watch(client, target, told, systemClock, tell, options).run(stop.signal))
  return told
}

async function put(name: string, value: string): Promise<void> {
  const metadata = { name, namespace: 'demo', labels: LABEL }
  const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { value } }
  await plane.client.apply(object, 'person')
}

const sees = (told: Told, expected: Record<string, string>, deadlineMs = 20_000): Promise<void> =>
  eventually(() => expect(Object.fromEntries(told.objects)).toEqual(expected), deadlineMs)

describe('a watch', () => {
  it('whose connection is open and dead is opened again, and sees what it missed without another list', async () => {
    await put('a', '1')
    const told = watch(await throughNetwork(), { inactivityMs: 2_000 })
    await sees(told, { a: '1' })
    network.silence()
    await put('b', '2')
    await eventually(() => expect(told.troubles.join()).toContain('silent'))
    network.heal()
    await sees(told, { a: '1', b: '2' })
    expect(told.lists).toBe(1)
  })

  it('whose history the server has no more (410) lists anew, and forgets what went meanwhile', async () => {
    await put('a', '1')
    await put('gone', '1')
    const told = watch(await throughNetwork(), { inactivityMs: 600_000 })
    await sees(told, { a: '1', gone: '1' })
    network.silence()
    await put('a', '2')
    await plane.client.delete(configMaps, 'demo', 'gone')
    // A server that starts has the history from then on only.
    await plane.server.halt()
    await plane.server.resume()
    await put('b', '1')
    network.heal()
    await sees(told, { a: '2', b: '1' })
    expect(told.lists).toBe(2)
  })

  it('goes through a restart of the API server', async () => {
    await put('a', '1')
    const told = watch(await throughNetwork())
    await sees(told, { a: '1' })
    await plane.server.halt()
    await eventually(() => expect(told.troubles.length).toBeGreaterThan(0))
    expect(Object.fromEntries(told.objects)).toEqual({ a: '1' })
    await plane.server.resume()
    await put('a', '2')
    await sees(told, { a: '2' })
  })

  it('sees the truth late, and the truth, through a server that is slow', async () => {
    for (let i = 0; i < 30; i++) await put(`c${i}`, '1')
    network.slow(400)
    const told = watch(await throughNetwork())
    const all = (value: string): Record<string, string> =>
      Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`c${i}`, value]))
    await sees(told, all('1'))
    for (let i = 0; i < 30; i++) await put(`c${i}`, '2')
    await sees(told, all('2'))
    expect(told.troubles).toEqual([])
  })
})

describe('an account that is not the cluster admin', () => {
  const account = 'watcher'

  beforeAll(async () => {
    const metadata = { name: account, namespace: 'demo' }
    await plane.client.json('POST', '/api/v1/namespaces/demo/serviceaccounts', {
      body: { apiVersion: 'v1', kind: 'ServiceAccount', metadata },
    })
    await plane.client.json('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      body: {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata: { name: account },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' },
        subjects: [{ kind: 'ServiceAccount', name: account, namespace: 'demo' }],
      },
    })
  })

  /** As a pod has it. */
  const tokenIn = (tokenFile: string): object => ({ 'auth-provider': { name: 'tokenFile', config: { tokenFile } } })

  /** A token that is good for as long as its Secret is there. */
  async function tokenBoundTo(secret: string): Promise<string> {
    const metadata = { name: secret, namespace: 'demo' }
    const made = (await plane.client.json('POST', '/api/v1/namespaces/demo/secrets', {
      body: { apiVersion: 'v1', kind: 'Secret', metadata },
    })) as { metadata: { uid: string } }
    const asked = (await plane.client.json('POST', `/api/v1/namespaces/demo/serviceaccounts/${account}/token`, {
      body: {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: { boundObjectRef: { apiVersion: 'v1', kind: 'Secret', name: secret, uid: made.metadata.uid } },
      },
    })) as { status: { token: string } }
    return asked.status.token
  }

  it('whose token is no longer good goes on once its file has another', async () => {
    const tokenFile = join(folder, 'token')
    await writeFile(tokenFile, await tokenBoundTo('first'))
    await put('a', '1')
    const told = watch(await throughNetwork(tokenIn(tokenFile)), { maxBackoffMs: 2_000 })
    await sees(told, { a: '1' })
    await plane.client.json('DELETE', '/api/v1/namespaces/demo/secrets/first')
    // What the server has found good it believes for some seconds: connections are broken until it looks again.
    await eventually(
      () => {
        network.heal()
        expect(told.troubles.join()).toContain('401')
      },
      40_000,
      500,
    )
    await put('a', '2')
    await writeFile(tokenFile, await tokenBoundTo('second'))
    await sees(told, { a: '2' })
  })

  it('that the server turns away with 429 waits, and goes on when it is let in', async () => {
    await writeFile(join(folder, 'token'), await tokenBoundTo('third'))
    await put('a', '1')
    const shut = '/apis/flowcontrol.apiserver.k8s.io/v1'
    await plane.client.json('POST', `${shut}/prioritylevelconfigurations`, {
      body: {
        apiVersion: 'flowcontrol.apiserver.k8s.io/v1',
        kind: 'PriorityLevelConfiguration',
        metadata: { name: 'shut' },
        spec: {
          type: 'Limited',
          limited: { nominalConcurrencyShares: 0, borrowingLimitPercent: 0, limitResponse: { type: 'Reject' } },
        },
      },
    })
    await plane.client.json('POST', `${shut}/flowschemas`, {
      body: {
        apiVersion: 'flowcontrol.apiserver.k8s.io/v1',
        kind: 'FlowSchema',
        metadata: { name: 'shut' },
        spec: {
          priorityLevelConfiguration: { name: 'shut' },
          matchingPrecedence: 2,
          rules: [
            {
              subjects: [{ kind: 'ServiceAccount', serviceAccount: { name: account, namespace: 'demo' } }],
              resourceRules: [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'], namespaces: ['*'] }],
            },
          ],
        },
      },
    })
    // Room for one request at a time is left even so: a list too large for the buffers on its way, and never read, takes it.
    for (let i = 0; i < LARGE; i++) {
      const metadata = { name: `large-${i}`, namespace: 'demo', labels: { 'example.org/large': 'yes' } }
      const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { value: 'x'.repeat(900_000) } }
      await plane.client.apply(object, 'person')
    }
    const direct = Number(new URL(plane.server.url).port)
    const hog = KubeClient.fromFile(await throughNetwork(tokenIn(join(folder, 'token')), direct), systemClock)
    clients.push(hog)
    const unread = await hog.open('GET', '/api/v1/namespaces/demo/configmaps', {})
    const told = watch(await throughNetwork(tokenIn(join(folder, 'token'))), { maxBackoffMs: 2_000 })
    await eventually(() => expect(told.troubles.join()).toContain('429'), 30_000)
    expect(told.lists).toBe(0)
    unread.destroy()
    await sees(told, { a: '1' }, 40_000)
    await plane.client.json('DELETE', `${shut}/flowschemas/shut`)
    await plane.client.json('DELETE', `${shut}/prioritylevelconfigurations/shut`)
    const large = { labelSelector: 'example.org/large=yes' }
    await plane.client.json('DELETE', '/api/v1/namespaces/demo/configmaps', { query: large })
  })
})
