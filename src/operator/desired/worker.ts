// The Deployment of a worker pool. Without spec.replicas, which belongs to the scaler (or to an HPA).

import type { V1Container, V1PodTemplateSpec, V1TopologySpreadConstraint } from '@kubernetes/client-node'
import type { KubeObject } from '../objects.ts'
import type { TaskQueue, WorkerPool } from '../taskqueue.ts'
import { COMPANION, companion, hasCompanion } from './companion.ts'
import { appEnvironment, queuesOf } from './environment.ts'
import type { OperatorInputs } from './inputs.ts'
import { childMetadata, labels, names, secretsAnnotation, selectorLabels } from './names.ts'
import { mergeOverlay } from './overlay.ts'
import { celeryProbes, nodeProbes } from './probes.ts'
import { HEALTH_PORT } from './supports.ts'
import { containerSecurityContext, podSecurityContext } from './security.ts'

export const WORKER = 'worker'
/** Beyond the longest task: time to give back what has not begun, to say goodbye and to close. */
export const GRACE_MARGIN_SECONDS = 30

export interface DesiredDeployment extends KubeObject {
  spec: {
    revisionHistoryLimit: number
    progressDeadlineSeconds: number
    selector: { matchLabels: Record<string, string> }
    strategy: { type: 'RollingUpdate'; rollingUpdate: { maxSurge: number | string; maxUnavailable: number | string } }
    template: V1PodTemplateSpec
  }
}

/** @param revision of the Secrets that its pods read; undefined while none is known */
export function workerDeployment(
  queue: TaskQueue,
  pool: WorkerPool,
  inputs: OperatorInputs,
  revision: string | undefined,
): DesiredDeployment {
  const poolLabels = labels(queue, 'worker', pool.name)
  const annotations = { 'kubectl.kubernetes.io/default-container': WORKER, ...secretsAnnotation(revision) }
  const template: V1PodTemplateSpec = {
    metadata: { labels: poolLabels, annotations },
    spec: {
      serviceAccountName: names.serviceAccount(queue),
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      ...(queue.spec.imagePullSecrets ? { imagePullSecrets: queue.spec.imagePullSecrets } : {}),
      securityContext: podSecurityContext,
      terminationGracePeriodSeconds: pool.maxTaskSeconds + GRACE_MARGIN_SECONDS,
      ...(hasCompanion(queue, pool) ? { initContainers: [companion(queue, pool, inputs)] } : {}),
      containers: [queue.spec.engine === 'Node' ? nodeWorker(queue, pool) : celeryWorker(queue, pool)],
      topologySpreadConstraints: spread(selectorLabels(queue, pool.name)),
      volumes: [{ name: 'tmp', emptyDir: {} }],
    },
  }
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: childMetadata(queue, names.deployment(queue, pool), poolLabels),
    spec: {
      revisionHistoryLimit: 5,
      progressDeadlineSeconds: 600,
      selector: { matchLabels: selectorLabels(queue, pool.name) },
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      template: mergeOverlay(mergeOverlay(template, queue.spec.podTemplate), pool.podTemplate),
    },
  }
}

/** Over zones and nodes as well as it goes: a pod that can't be spread runs all the same. Those of an older template don't count. */
function spread(matchLabels: Record<string, string>): V1TopologySpreadConstraint[] {
  return ['topology.kubernetes.io/zone', 'kubernetes.io/hostname'].map((topologyKey) => ({
    maxSkew: 1,
    topologyKey,
    whenUnsatisfiable: 'ScheduleAnyway',
    labelSelector: { matchLabels },
    matchLabelKeys: ['pod-template-hash'],
  }))
}

/** The same Deployment with the image of another companion; itself when there is none to change. */
export function withCompanion(
  deployment: DesiredDeployment,
  other: Pick<V1Container, 'image' | 'imagePullPolicy'> | undefined,
): DesiredDeployment {
  const { template } = deployment.spec
  if (!other || !template.spec?.initContainers) return deployment
  const kept = { image: other.image ?? '', ...(other.imagePullPolicy && { imagePullPolicy: other.imagePullPolicy }) }
  const initContainers = template.spec.initContainers.map((c) => (c.name === COMPANION ? { ...c, ...kept } : c))
  const spec = { ...template.spec, initContainers }
  return { ...deployment, spec: { ...deployment.spec, template: { ...template, spec } } }
}

function workerContainer(
  queue: TaskQueue,
  pool: WorkerPool,
): Pick<V1Container, 'name' | 'image'> & Partial<V1Container> {
  return {
    name: WORKER,
    image: queue.spec.image ?? '',
    ...(queue.spec.imagePullPolicy ? { imagePullPolicy: queue.spec.imagePullPolicy } : {}),
    resources: pool.resources ?? {},
    securityContext: containerSecurityContext,
    volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }],
  }
}

function nodeWorker(queue: TaskQueue, pool: WorkerPool): V1Container {
  return {
    ...workerContainer(queue, pool),
    // Relative to the image's working directory, which is where the app's node_modules are.
    command: ['./node_modules/.bin/taskqueue', 'worker'],
    env: [
      ...appEnvironment(queue),
      { name: 'TASKQUEUE_QUEUES', value: queuesOf(queue, pool).join(',') },
      { name: 'TASKQUEUE_CONCURRENCY', value: String(pool.concurrency) },
      { name: 'TASKQUEUE_HEALTH_PORT', value: String(HEALTH_PORT) },
      { name: 'TASKQUEUE_SHUTDOWN_GRACE_SECONDS', value: String(pool.maxTaskSeconds + GRACE_MARGIN_SECONDS / 2) },
      { name: 'TASKQUEUE_MAX_TASK_SECONDS', value: String(pool.maxTaskSeconds) },
    ],
    ports: [{ name: 'health', containerPort: HEALTH_PORT, protocol: 'TCP' }],
    ...nodeProbes(HEALTH_PORT),
  }
}

/** Celery's own worker, with no change to the image. `%h` is the pod's name, so that tools can address it. */
function celeryWorker(queue: TaskQueue, pool: WorkerPool): V1Container {
  return {
    ...workerContainer(queue, pool),
    command: ['celery', '--quiet', '-A', queue.spec.app ?? '', 'worker'],
    args: [
      '--loglevel=INFO',
      '--hostname=celery@%h',
      `--concurrency=${pool.concurrency}`,
      `--queues=${queuesOf(queue, pool).join(',')}`,
    ],
    env: appEnvironment(queue),
    ...celeryProbes(pool.probe, queue.spec.app ?? ''),
  }
}
