// Names, labels and annotations of everything that belongs to a TaskQueue. Changing one orphans what is out there: don't.

import type { ObjectMeta, OwnerReference } from '../objects.ts'
import type { TaskQueue, WorkerPool } from '../taskqueue.ts'

export const MANAGED_BY = 'taskqueue-operator'
export const labelKeys = {
  managedBy: 'app.kubernetes.io/managed-by',
  taskQueue: 'taskqueue.dev/taskqueue',
  pool: 'taskqueue.dev/pool',
  component: 'app.kubernetes.io/component',
} as const

export const annotationKeys = {
  /** Hash of the beat Pod's meaning, images of the operator left out: a Pod can't be changed in place, so it is compared by this. */
  specHash: 'taskqueue.dev/spec-hash',
  /** Touched when the schedules change, which makes the kubelet bring the new ConfigMap into the Pod at once. */
  schedulesHash: 'taskqueue.dev/schedules-hash',
  /** Kubernetes' own: which pods a ReplicaSet removes first. */
  deletionCost: 'controller.kubernetes.io/pod-deletion-cost',
  /** Of the Secrets' values that the pod was started with: a change of theirs rolls the pods. */
  secretsRevision: 'taskqueue.dev/secrets-revision',
} as const

/** The annotation of a pod that tells its Secrets; none while they are not known. */
export function secretsAnnotation(revision: string | undefined): Record<string, string> {
  return revision === undefined ? {} : { [annotationKeys.secretsRevision]: revision }
}

/** The selector of all objects of all TaskQueues, for list and watch. */
export const managedSelector = `${labelKeys.managedBy}=${MANAGED_BY}`

export const names = {
  deployment: (queue: TaskQueue, pool: Pick<WorkerPool, 'name'>): string => `${queue.metadata.name}-${pool.name}`,
  /** Fixed: the name is the mutex that keeps beat single. */
  beatPod: (queue: TaskQueue): string => `${queue.metadata.name}-beat`,
  schedules: (queue: TaskQueue): string => `${queue.metadata.name}-schedules`,
  /** Of its own, so that it never is one that someone else has made for something else. */
  serviceAccount: (queue: TaskQueue): string => `${queue.metadata.name}-taskqueue`,
  service: (queue: TaskQueue): string => `${queue.metadata.name}-pods`,
  beatVolume: (queue: TaskQueue): string => `${queue.metadata.name}-beat`,
}

export type Component = 'worker' | 'beat'

/** Labels that never change in the life of an object, since a Deployment's selector can't. */
export function selectorLabels(queue: TaskQueue, pool: string): Record<string, string> {
  return { [labelKeys.taskQueue]: queue.metadata.name, [labelKeys.pool]: pool }
}

/** @param component left out for what belongs to workers and beat alike */
export function labels(queue: TaskQueue, component?: Component, pool?: string): Record<string, string> {
  return {
    'app.kubernetes.io/name': 'taskqueue',
    'app.kubernetes.io/instance': queue.metadata.name,
    ...(component === undefined ? {} : { [labelKeys.component]: component }),
    [labelKeys.managedBy]: MANAGED_BY,
    [labelKeys.taskQueue]: queue.metadata.name,
    ...(pool === undefined ? {} : { [labelKeys.pool]: pool }),
  }
}

/** With `controller: true`, or `kubectl drain` refuses to evict a bare Pod. */
export function ownerReference(queue: TaskQueue): OwnerReference {
  return {
    apiVersion: queue.apiVersion,
    kind: queue.kind,
    name: queue.metadata.name,
    uid: queue.metadata.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  }
}

/** The metadata of a child in the TaskQueue's namespace, owned by it. */
export function childMetadata(queue: TaskQueue, name: string, childLabels: Record<string, string>): ObjectMeta {
  return {
    name,
    ...(queue.metadata.namespace === undefined ? {} : { namespace: queue.metadata.namespace }),
    labels: childLabels,
    ownerReferences: [ownerReference(queue)],
  }
}
