// Prometheus and the log's index template against what really runs: every metric that the dashboard and the rules name is exported, every
// query is answered, and every line of every container is as the template says.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TaskApp } from '@taskqueue/runtime'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OPERATOR_NAMESPACE } from '../../deploy/demo/install.ts'
import { PortForward } from '../../deploy/demo/portforward.ts'
import { supports } from '../../src/operator/desired/supports.ts'
import type { KubeObject, LivePod } from '../../src/operator/objects.ts'
import { eventually } from '../fixtures/eventually.ts'
import { complaints } from '../fixtures/log-schema.ts'
import { alertRules, dashboardQueries, metricsNamed } from '../fixtures/monitoring.ts'
import { Prometheus } from '../fixtures/prometheus.ts'
import { ApiProxy } from './apiproxy.ts'
import { NAMESPACE } from './cluster.ts'
import { kubectl, queue } from './scene.ts'

const folder = mkdtempSync(join(tmpdir(), 'prometheus-'))
let proxy: ApiProxy
let prometheus: Prometheus
let forward: PortForward
let app: TaskApp

beforeAll(async () => {
  proxy = await ApiProxy.open(kubectl)
  prometheus = await Prometheus.start(folder, [
    await job('operator', OPERATOR_NAMESPACE, [8080], []),
    await job('taskqueues', NAMESPACE, [9808, 9809], await podRelabelings()),
  ])
  forward = await PortForward.open(kubectl, NAMESPACE, 'service/redis', 6379)
  app = new TaskApp({ name: 'e2e', brokerUrl: `redis://:demo-only@127.0.0.1:${forward.port}/0` })
})
afterAll(async () => {
  await app.close()
  forward.close()
  await prometheus.stop()
  proxy.close()
  rmSync(folder, { recursive: true })
})

/** The operators, or the pods of the examples that stay: other tests leave TaskQueues of theirs that are about to go. */
async function podsIn<T extends KubeObject>(namespace: string): Promise<T[]> {
  const labels =
    namespace === NAMESPACE
      ? 'taskqueue.dev/taskqueue in (orders, reports)'
      : 'app.kubernetes.io/name=taskqueue-operator'
  const where = ['--namespace', namespace, '--selector', labels]
  const { items } = await kubectl.json<{ items: T[] }>('get', 'pods', ...where)
  return items.filter(({ metadata }) => metadata.deletionTimestamp === undefined)
}

/** What Prometheus' own discovery would find, which Debian's is built without: a target for each port of a container, with its labels. */
async function discovered(namespace: string, ports: readonly number[]): Promise<object[]> {
  const items = await podsIn<PodSeen>(namespace)
  return items.flatMap(({ metadata, spec }) =>
    [...spec.containers, ...(spec.initContainers ?? [])]
      .flatMap((container) => container.ports ?? [])
      .filter(({ containerPort }) => ports.includes(containerPort))
      .map(({ containerPort }) => ({
        targets: [proxy.address],
        labels: {
          __meta_kubernetes_namespace: namespace,
          __meta_kubernetes_pod_name: metadata.name,
          // By way of the API server: the pods' network is not this machine's.
          __metrics_path__: `/api/v1/namespaces/${namespace}/pods/${metadata.name}:${containerPort}/proxy/metrics`,
          ...Object.fromEntries(
            Object.entries(metadata.labels ?? {}).map(([name, value]) => [
              `__meta_kubernetes_pod_label_${name.replaceAll(/[^a-zA-Z0-9_]/g, '_')}`,
              value,
            ]),
          ),
          instance: `${metadata.uid ?? ''}:${containerPort}`,
        },
      })),
  )
}

interface PodSeen extends KubeObject {
  readonly spec: { readonly containers: readonly ContainerPorts[]; readonly initContainers?: readonly ContainerPorts[] }
}

interface ContainerPorts {
  readonly ports?: readonly { readonly containerPort: number }[]
}

async function job(name: string, namespace: string, ports: readonly number[], relabelings: object[]): Promise<object> {
  return {
    job_name: name,
    // Of a TaskQueue's own namespace, the operator's metrics know more than the scrape does.
    honor_labels: true,
    static_configs: await discovered(namespace, ports),
    relabel_configs: [
      { source_labels: ['__meta_kubernetes_namespace'], target_label: 'namespace' },
      { source_labels: ['__meta_kubernetes_pod_name'], target_label: 'pod' },
      ...relabelings,
    ],
  }
}

interface PodMonitor extends KubeObject {
  readonly spec: {
    readonly podMetricsEndpoints: readonly {
      readonly relabelings: readonly { readonly sourceLabels: readonly string[]; readonly targetLabel: string }[]
    }[]
  }
}

/** Those of the PodMonitor that the operator makes. */
async function podRelabelings(): Promise<object[]> {
  const orders = await queue('orders')
  const made = supports({ ...orders, spec: { ...orders.spec, podMonitor: { enabled: true } } })
  const monitor = made.find(({ kind }) => kind === 'PodMonitor') as PodMonitor | undefined
  const relabelings = monitor?.spec.podMetricsEndpoints[0]?.relabelings ?? []
  expect(relabelings).not.toHaveLength(0)
  return relabelings.map(({ sourceLabels, targetLabel }) => ({
    source_labels: sourceLabels,
    target_label: targetLabel,
  }))
}

/** What makes figures: tasks that end well, are repeated, and end as dead letters. */
async function traffic(): Promise<void> {
  const well = await Promise.all(
    Array.from({ length: 20 }, (_, i) => app.send('orders.charge', [`m-${i}`], { queue: 'orders' })),
  )
  const again = await app.send('orders.charge', ['again', { failFirst: 1 }], { queue: 'orders' })
  await app.send('orders.nobody-has-this', [], { queue: 'orders' })
  await Promise.all([...well, again].map((each) => each.get({ timeoutSeconds: 60 })))
}

describe('Prometheus', () => {
  it('finds and scrapes the operators, and every pod of every TaskQueue', async () => {
    await eventually(
      async () => {
        const targets = await prometheus.targets()
        expect(targets.filter(({ health }) => health !== 'up').map((t) => [t.scrapeUrl, t.lastError])).toEqual([])
        const of = (taskqueue: string, component: string): number =>
          targets.filter(({ labels }) => labels['taskqueue'] === taskqueue && labels['component'] === component).length
        // Of each pod its own port and its companion's; Celery's have the companion's.
        expect(of('orders', 'worker')).toBeGreaterThanOrEqual(4)
        expect(of('orders', 'beat')).toBeGreaterThanOrEqual(2)
        expect(of('reports', 'worker')).toBeGreaterThanOrEqual(1)
      },
      60_000,
      1_000,
    )
  })

  it('has every metric that the dashboard and the alert rules name', async () => {
    await traffic()
    const named = metricsNamed([...dashboardQueries(), ...alertRules()].map(({ expr }) => expr))
    expect(named.length).toBeGreaterThan(20)
    await eventually(
      async () => {
        const exported = await prometheus.metricNames()
        expect(named.filter((name) => !exported.has(name)).join(), 'named and not exported').toBe('')
      },
      60_000,
      1_000,
    )
  })

  it('answers every query of the dashboard, and has something to show for it', async () => {
    // What has no series while all is well.
    const quiet = ['taskqueue_patrol_findings', 'taskqueue_schedule_missed_total']
    await traffic()
    for (const { panel, expr } of dashboardQueries())
      await eventually(
        async () => {
          const found = await prometheus.query(expr)
          if (found.length === 0 && !quiet.some((metric) => expr.includes(metric)))
            throw new Error(`${panel} shows nothing: ${expr}`)
        },
        60_000,
        1_000,
      )
  })

  it('has evaluated every alert rule', async () => {
    await eventually(
      async () => {
        const rules = await prometheus.rules()
        expect(rules.map(({ name }) => name).sort()).toEqual(
          alertRules()
            .map(({ alert }) => alert)
            .sort(),
        )
        expect(rules.filter(({ health }) => health !== 'ok').map(({ name, lastError }) => [name, lastError])).toEqual(
          [],
        )
      },
      60_000,
      1_000,
    )
  })

  it('is told of the dead letter', async () => {
    await eventually(
      async () => {
        const told = await prometheus.query('ALERTS{alertname="TaskQueueDeadLetters"}')
        expect(told.map(({ metric }) => [metric['taskqueue'], metric['reason']])).toContainEqual([
          'orders',
          'NotRegistered',
        ])
      },
      60_000,
      1_000,
    )
  })
})

describe('every line of the log', () => {
  it('of the operators and of all pods of TaskQueues is as the index template says', async () => {
    const seen = new Map<string, number>()
    for (const namespace of [OPERATOR_NAMESPACE, NAMESPACE]) {
      for (const { metadata } of await podsIn<LivePod>(namespace)) await linesAreGood(namespace, metadata.name, seen)
    }
    for (const component of ['operator', 'worker', 'beat', 'companion'])
      expect(seen.get(component), component).toBeGreaterThan(0)
  })

  /** Counts the lines of each component. */
  async function linesAreGood(namespace: string, pod: string, seen: Map<string, number>): Promise<void> {
    const where = ['--namespace', namespace, pod, '--all-containers', '--tail=2000']
    const text = (await kubectl.run('logs', ...where)).trimEnd()
    const lines = text === '' ? [] : text.split('\n')
    const objects = lines.map((line) => parsed(line, pod))
    // The example's own.
    expect(complaints(objects, ['orderId', 'slot']), pod).toEqual([])
    for (const { component = '' } of objects) seen.set(component, (seen.get(component) ?? 0) + 1)
  }

  function parsed(line: string, pod: string): { component?: string } {
    try {
      return JSON.parse(line) as { component?: string }
    } catch {
      throw new Error(`a line of ${pod} is no JSON: ${line}`)
    }
  }
})
