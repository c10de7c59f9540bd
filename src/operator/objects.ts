// The few shapes of Kubernetes objects that the operator reads, as they are in JSON (times are strings). Not a client:
// builders of desired objects borrow the full types of @kubernetes/client-node.

export interface OwnerReference {
  apiVersion: string
  kind: string
  name: string
  uid: string
  controller?: boolean
  blockOwnerDeletion?: boolean
}

export interface ManagedFieldsEntry {
  manager?: string
  operation?: string
  subresource?: string
  fieldsV1?: Record<string, unknown>
}

export interface ObjectMeta {
  name: string
  namespace?: string
  uid?: string
  resourceVersion?: string
  generation?: number
  creationTimestamp?: string
  deletionTimestamp?: string
  deletionGracePeriodSeconds?: number
  labels?: Record<string, string>
  annotations?: Record<string, string>
  ownerReferences?: OwnerReference[]
  finalizers?: string[]
  managedFields?: ManagedFieldsEntry[]
}

export interface KubeObject {
  apiVersion: string
  kind: string
  metadata: ObjectMeta
}

export interface Condition {
  type: string
  status: 'True' | 'False' | 'Unknown'
  reason: string
  message: string
  observedGeneration?: number
  lastTransitionTime: string
}

export interface LiveDeployment extends KubeObject {
  spec: {
    replicas?: number
    selector: { matchLabels?: Record<string, string> }
    template: { metadata?: Partial<ObjectMeta>; spec: PodSpecSeen }
  }
  status?: {
    observedGeneration?: number
    replicas?: number
    readyReplicas?: number
    updatedReplicas?: number
    conditions?: { type: string; status: string; reason?: string; message?: string }[]
  }
}

export interface ContainerSeen {
  name: string
  image?: string
  imagePullPolicy?: 'Always' | 'IfNotPresent' | 'Never'
}

export interface PodSpecSeen {
  nodeName?: string
  containers: ContainerSeen[]
  initContainers?: ContainerSeen[]
}

export interface ContainerStatusSeen {
  name: string
  ready?: boolean
  restartCount?: number
  state?: {
    waiting?: { reason?: string; message?: string }
    running?: { startedAt?: string }
    terminated?: { reason?: string; exitCode?: number; message?: string }
  }
  lastState?: { terminated?: { reason?: string; exitCode?: number; message?: string } }
}

export interface LivePod extends KubeObject {
  spec: PodSpecSeen
  status?: {
    phase?: string
    reason?: string
    message?: string
    conditions?: { type: string; status: string; reason?: string; message?: string }[]
    containerStatuses?: ContainerStatusSeen[]
    initContainerStatuses?: ContainerStatusSeen[]
  }
}

export interface LiveConfigMap extends KubeObject {
  data?: Record<string, string>
}

/** A time as Kubernetes writes it: UTC, no fractions of a second. */
export function timestamp(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, 'Z')
}

/** `namespace/name`, by which caches and the workqueue know an object. */
export type ObjectKey = string

/** The key of an object: `namespace/name`. */
export function keyOf(object: KubeObject): ObjectKey {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name}`
}

/** The owner that controls the object, if it is of the given kind. */
export function controllerOf(object: KubeObject, kind: string): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((owner) => owner.controller === true && owner.kind === kind)
}
