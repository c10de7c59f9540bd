// What of an object the caches keep: as much as the operator reads. A Pod is ten times what is read of it, and there may be thousands;
// of managedFields the most is of others, or the same in every TaskQueue. Pure but for the memory of what is the same.

import type {
  ContainerSeen,
  ContainerStatusSeen,
  KubeObject,
  LivePod,
  ManagedFieldsEntry,
  ObjectMeta,
} from './objects.ts'

const OURS = 'taskqueue-'
/** Shapes of our objects: a few, but for those that overlays make. */
const MAX_SHARED = 1_000

const shared = new Map<string, unknown>()

/** A child without what others own of it. */
export function keptChild<T extends KubeObject>(object: T): T {
  const { managedFields, ...metadata } = object.metadata
  if (!managedFields) return object
  const ours = managedFields.filter(({ manager }) => manager?.startsWith(OURS) === true)
  return { ...object, metadata: { ...metadata, managedFields: ours.map(withShared) } }
}

/** A TaskQueue, of which nobody asks who owns what. */
export function keptQueue<T extends KubeObject>(object: T): T {
  return { ...object, metadata: unmanaged(object.metadata) }
}

/** A Pod as LivePod says it, and no more. */
export function keptPod(pod: LivePod): LivePod {
  const { nodeName, containers, initContainers } = pod.spec
  const { phase, reason, message, conditions, containerStatuses, initContainerStatuses } = pod.status ?? {}
  return {
    apiVersion: pod.apiVersion,
    kind: pod.kind,
    metadata: unmanaged(pod.metadata),
    spec: {
      ...(nodeName === undefined ? {} : { nodeName }),
      containers: containers.map(keptContainer),
      ...(initContainers ? { initContainers: initContainers.map(keptContainer) } : {}),
    },
    status: {
      ...(phase === undefined ? {} : { phase }),
      ...(reason === undefined ? {} : { reason }),
      ...(message === undefined ? {} : { message }),
      ...(conditions ? { conditions: conditions.map(keptCondition) } : {}),
      ...(containerStatuses ? { containerStatuses: containerStatuses.map(keptStatus) } : {}),
      ...(initContainerStatuses ? { initContainerStatuses: initContainerStatuses.map(keptStatus) } : {}),
    },
  }
}

function unmanaged(metadata: ObjectMeta): ObjectMeta {
  const rest = { ...metadata }
  delete rest.managedFields
  return rest
}

function keptContainer({ name, image, imagePullPolicy }: ContainerSeen): ContainerSeen {
  return {
    name,
    ...(image === undefined ? {} : { image }),
    ...(imagePullPolicy === undefined ? {} : { imagePullPolicy }),
  }
}

type PodCondition = NonNullable<NonNullable<LivePod['status']>['conditions']>[number]

function keptCondition({ type, status, reason, message }: PodCondition): PodCondition {
  return {
    type,
    status,
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message }),
  }
}

function keptStatus({ name, ready, restartCount, state, lastState }: ContainerStatusSeen): ContainerStatusSeen {
  return {
    name,
    ...(ready === undefined ? {} : { ready }),
    ...(restartCount === undefined ? {} : { restartCount }),
    ...(state ? { state } : {}),
    ...(lastState ? { lastState } : {}),
  }
}

/** The same tree for the same fields, but for those of metadata, which name the owner. */
function withShared(entry: ManagedFieldsEntry): ManagedFieldsEntry {
  const fields = Object.entries(entry.fieldsV1 ?? {})
  const fieldsV1 = Object.fromEntries(fields.map(([at, tree]) => [at, at === 'f:metadata' ? tree : sharedOf(tree)]))
  return { ...entry, fieldsV1 }
}

function sharedOf(tree: unknown): unknown {
  const text = JSON.stringify(tree)
  const known = shared.get(text)
  if (known !== undefined) return known
  if (shared.size >= MAX_SHARED) shared.clear()
  shared.set(text, tree)
  return tree
}
