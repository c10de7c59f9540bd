// The TaskQueues of the bench and what the operator makes of each. Not examples: each is as plain as one with two pools and a beat can be.
import { createHash } from 'node:crypto'
import {
  configMaps,
  deployments,
  disruptionBudgets,
  pathOf,
  pods,
  serviceAccounts,
  services,
  taskQueues,
  volumeClaims,
  type Resource,
} from '../../src/operator/kube/resources.ts'
import type { KubeClient } from '../../src/operator/kube/client.ts'
import type { KubeObject } from '../../src/operator/objects.ts'
import { eventually } from '../../test/fixtures/eventually.ts'
import { atOnce } from '../../src/operator/atonce.ts'
import { NAMESPACE } from './plane.ts'

/** What a TaskQueue of the bench comes to, in the order in which the operator makes it. */
export const childKinds: readonly (readonly [kind: Resource, each: number])[] = [
  [serviceAccounts, 1],
  [services, 1],
  [disruptionBudgets, 2],
  [volumeClaims, 1],
  [configMaps, 1],
  [deployments, 2],
  [pods, 1],
]
export const childrenEach = childKinds.reduce((sum, [, each]) => sum + each, 0)
export const poolNames = ['web', 'mail'] as const

const WIDTH = 32

export function nameOf(index: number): string {
  return `tq-${String(index).padStart(4, '0')}`
}

let replicas = 1

/** How many pods each pool has from now on. */
export function setReplicas(each: number): void {
  replicas = each
}

/** @param image of the first pool; another one is a change of that pool alone */
export function workersOf(name: string, image = 'registry.example/app:1'): Record<string, unknown>[] {
  return poolNames.map((pool, at) => ({
    name: pool,
    queues: [`${name}-${pool}`],
    replicas,
    resources: { requests: { cpu: '100m', memory: '128Mi' }, limits: { memory: '256Mi' } },
    ...(at === 0 ? { podTemplate: { spec: { containers: [{ name: 'worker', image }] } } } : {}),
  }))
}

export function taskQueue(name: string, brokerUrl: string, spec: Record<string, unknown> = {}): KubeObject {
  const schedule = (id: string, cron: string): object => ({
    name: id,
    task: `bench.${id}`,
    cron,
    queue: `${name}-mail`,
  })
  return {
    apiVersion: taskQueues.apiVersion,
    kind: taskQueues.kind,
    metadata: { name, namespace: NAMESPACE },
    spec: {
      engine: 'Node',
      image: 'registry.example/app:1',
      app: './tasks.js',
      broker: { url: brokerUrl },
      workers: workersOf(name),
      beat: { scheduler: 'Declared', schedules: [schedule('hourly', '0 * * * *'), schedule('daily', '0 3 * * *')] },
      ...spec,
    },
  } as KubeObject
}

/** Creates them as fast as the API server takes them. */
export async function createAll(client: KubeClient, queues: readonly KubeObject[]): Promise<void> {
  await atOnce(queues, WIDTH, (queue) => client.create(queue, 'bench'))
}

/** Waits until there are as many children as so many TaskQueues come to. Asks seldom: the counting is done on the measured cores. */
export async function childrenOf(client: KubeClient, queues: number, seconds = 900): Promise<void> {
  for (const [kind, each] of childKinds) {
    const enough = async (): Promise<void> => {
      const there = await count(client, kind)
      if (there < queues * each) throw new Error(`there are ${there} of ${queues * each} ${kind.plural}`)
    }
    await eventually(enough, seconds * 1000, 500)
  }
}

/** By one short page, which tells how many are left. */
async function count(client: KubeClient, kind: Resource): Promise<number> {
  const page = (await client.json('GET', pathOf(kind, NAMESPACE), { query: { limit: '1' } })) as {
    metadata: { remainingItemCount?: number }
    items: unknown[]
  }
  return page.items.length + (page.metadata.remainingItemCount ?? 0)
}

/** All objects of a kind in the namespace. */
export async function listAll<T extends KubeObject>(client: KubeClient, kind: Resource): Promise<T[]> {
  const { items } = (await client.json('GET', pathOf(kind, NAMESPACE), { timeoutMs: 120_000 })) as { items: T[] }
  return items.map((item) => ({ ...item, apiVersion: kind.apiVersion, kind: kind.kind }))
}

/** A short name for a content, for caches. */
export function digest(...texts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(texts)).digest('hex').slice(0, 16)
}
