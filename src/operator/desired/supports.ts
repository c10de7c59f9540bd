// What stands beside the pods of a TaskQueue: its ServiceAccount, the Service that names its pods, the budget of each pool, and, when asked
// for, a NetworkPolicy and a PodMonitor. Pure.

import type { KubeObject } from '../objects.ts'
import type { TaskQueue } from '../taskqueue.ts'
import { COMPANION_PORT, hasCompanion } from './companion.ts'
import { childMetadata, labelKeys, labels, names, selectorLabels } from './names.ts'

/** Of a Node worker and a Declared beat. */
export const HEALTH_PORT = 9808

/** In the order in which they are written: pods can't be made before their account. */
export function supports(queue: TaskQueue): KubeObject[] {
  return [
    serviceAccount(queue),
    service(queue),
    ...(queue.spec.workers ?? []).map(({ name }) => disruptionBudget(queue, name)),
    ...(queue.spec.networkPolicy.enabled ? [networkPolicy(queue)] : []),
    ...(queue.spec.podMonitor.enabled ? [podMonitor(queue)] : []),
  ]
}

/** Without rights and without a token: it is there so that a cloud's identity can be bound to it, and is shared with nobody. */
function serviceAccount(queue: TaskQueue): KubeObject & Record<string, unknown> {
  return {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: childMetadata(queue, names.serviceAccount(queue), labels(queue)),
    automountServiceAccountToken: false,
  }
}

/** Headless: it spreads nothing, it gives pods a name and what scrapes them a list. Pods that are not ready are in it too. */
function service(queue: TaskQueue): KubeObject & Record<string, unknown> {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: childMetadata(queue, names.service(queue), labels(queue)),
    spec: {
      clusterIP: 'None',
      publishNotReadyAddresses: true,
      selector: { [labelKeys.taskQueue]: queue.metadata.name },
      ports: ports(queue).map(({ name, port }) => ({ name, port, protocol: 'TCP', targetPort: port })),
    },
  }
}

/** One pod of a pool at a time, so that a drain never takes a pool down; one that is not ready anyway is let go. */
function disruptionBudget(queue: TaskQueue, pool: string): KubeObject & Record<string, unknown> {
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: childMetadata(queue, names.deployment(queue, { name: pool }), labels(queue, 'worker', pool)),
    spec: {
      maxUnavailable: 1,
      unhealthyPodEvictionPolicy: 'AlwaysAllow',
      selector: { matchLabels: selectorLabels(queue, pool) },
    },
  }
}

/** Nobody calls a worker: only probes (which come from the node, and are let in by Kubernetes) and what scrapes metrics. */
function networkPolicy(queue: TaskQueue): KubeObject & Record<string, unknown> {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: childMetadata(queue, queue.metadata.name, labels(queue)),
    spec: {
      podSelector: { matchLabels: { [labelKeys.taskQueue]: queue.metadata.name } },
      policyTypes: ['Ingress'],
      ingress: [{ ports: ports(queue).map(({ port }) => ({ port, protocol: 'TCP' })) }],
    },
  }
}

function podMonitor(queue: TaskQueue): KubeObject & Record<string, unknown> {
  const { labels: extra = {} } = queue.spec.podMonitor
  return {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'PodMonitor',
    // What others select it by first, so that none of it can hide whose it is.
    metadata: childMetadata(queue, queue.metadata.name, { ...extra, ...labels(queue) }),
    spec: {
      selector: { matchLabels: { [labelKeys.taskQueue]: queue.metadata.name } },
      podMetricsEndpoints: ports(queue).map(({ port }) => ({ portNumber: port, path: '/metrics', relabelings })),
    },
  }
}

/** Prometheus' own names of our labels, shortened to those that the operator's metrics and the logs have: taskqueue, pool, component. */
const relabelings = (['taskQueue', 'pool', 'component'] as const).map((which) => ({
  sourceLabels: [`__meta_kubernetes_pod_label_${labelKeys[which].replaceAll(/[^a-zA-Z0-9]/g, '_')}`],
  targetLabel: which.toLowerCase(),
}))

function ports(queue: TaskQueue): { name: string; port: number }[] {
  const { workers = [], beat, engine } = queue.spec
  const companion = workers.some((pool) => hasCompanion(queue, pool)) || (beat !== undefined && hasCompanion(queue))
  const health = engine === 'Node' || beat?.scheduler === 'Declared'
  return [
    ...(health ? [{ name: 'health', port: HEALTH_PORT }] : []),
    ...(companion ? [{ name: 'companion', port: COMPANION_PORT }] : []),
  ]
}
