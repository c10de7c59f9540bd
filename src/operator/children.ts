// Writes the objects that a TaskQueue should have: applies what differs, creates what is missing, never takes over a stranger's
// object. Not a decision about what should exist: that is desired/.

import { difference } from './difference.ts'
import { COMPANION } from './desired/companion.ts'
import { labelKeys } from './desired/names.ts'
import { withCompanion, type DesiredDeployment } from './desired/worker.ts'
import { ApiError, isConflict } from './errors.ts'
import type { Cache } from './kube/cache.ts'
import type { KubeClient } from './kube/client.ts'
import { resourceOf } from './kube/resources.ts'
import {
  controllerOf,
  keyOf,
  type ContainerSeen,
  type KubeObject,
  type LiveDeployment,
  type ObjectKey,
} from './objects.ts'
import type { TaskQueue } from './taskqueue.ts'

/** Owner of all fields but the number of replicas. */
export const FIELD_MANAGER = 'taskqueue-operator'
/** Owner of the number of replicas alone, so that an HPA can take it over. */
export const SCALER = 'taskqueue-scaler'

export type WriteOutcome = 'unchanged' | 'created' | 'changed' | { refused: string }

export class Children {
  readonly #client: KubeClient
  /** By TaskQueue and object: what the API server makes of an apply that still differs. Not tried again until one of the two changes. */
  readonly #settled = new Map<ObjectKey, Map<string, { wanted: string; version: string }>>()

  constructor(client: KubeClient) {
    this.#client = client
  }

  /** Makes the object what it should be. Refusals by the API server are returned, other errors thrown. */
  async ensure<T extends KubeObject>(queue: TaskQueue, desired: T, cache: Cache<T>): Promise<WriteOutcome> {
    const live = cache.get(keyOf(desired))
    if (live) return this.#change(queue, desired, live, cache)
    // The cache knows only what has our label: the name may be a stranger's.
    const outcome = await this.#create(desired, cache)
    if (outcome !== 'taken') return outcome
    const other = await this.#read<T>(desired)
    return other ? this.#change(queue, desired, other, cache) : this.#write(desired, cache, 'created')
  }

  async #change<T extends KubeObject>(queue: TaskQueue, desired: T, live: T, cache: Cache<T>): Promise<WriteOutcome> {
    const stranger = strangerSentence(queue, live)
    if (stranger !== undefined) return { refused: stranger }
    if (difference(desired, live, FIELD_MANAGER) === undefined || this.#isSettled(queue, desired, live))
      return 'unchanged'
    const outcome = await this.#write(desired, cache, 'changed')
    const after = cache.get(keyOf(desired))
    // Fields that the API server drops or rewrites would else be applied for ever.
    if (after && difference(desired, after, FIELD_MANAGER) !== undefined) this.#settle(queue, desired, after)
    return outcome
  }

  /**
   * A Deployment, which starts with `replicas` and keeps the companion that it has until it rolls for another reason, or until that
   * companion fails.
   */
  async ensureDeployment(
    queue: TaskQueue,
    desired: DesiredDeployment,
    { replicas, companionFails }: { replicas: number | undefined; companionFails: boolean },
    cache: Cache<LiveDeployment>,
  ): Promise<WriteOutcome> {
    const live = cache.get(keyOf(desired))
    const typed = desired as unknown as LiveDeployment
    if (!live && replicas !== undefined) {
      // 1 is what the API server makes of no number.
      if (replicas === 1) return this.ensure(queue, typed, cache)
      // Written with its number, or the API server would make it 1 first.
      const outcome = await this.ensure(queue, { ...typed, spec: { ...typed.spec, replicas } }, cache)
      if (outcome !== 'created') return outcome
      await this.scale(cache.get(keyOf(desired)) ?? typed, replicas, cache)
      // The scaler has the number: it is given up here.
      await this.ensure(queue, typed, cache)
      return outcome
    }
    if (live && !companionFails && isOwn(queue, live) && !hasItsCompanion(live, desired)) {
      const kept = withCompanion(desired, companionOf(live)) as unknown as LiveDeployment
      const effect = await this.#effectOf(queue, kept, live)
      if (effect === 'none') return 'unchanged'
      if (effect === 'ownership') return this.ensure(queue, kept, cache)
    }
    return this.ensure(queue, typed, cache)
  }

  /**
   * What applying would do: change what is meant, only which fields are ours, or nothing. Where the two differ in writing only
   * (`1024Mi` and `1Gi`), just the API server can tell: it is asked once, without storing anything, since a write with a new
   * companion would roll every pod.
   */
  async #effectOf<T extends KubeObject>(
    queue: TaskQueue,
    desired: T,
    live: T,
  ): Promise<'meaning' | 'ownership' | 'none'> {
    if (difference(desired, live, FIELD_MANAGER) === undefined || this.#isSettled(queue, desired, live)) return 'none'
    try {
      const after = await this.#client.tryApply(desired, FIELD_MANAGER)
      if (versionOf(after) !== versionOf(live)) return 'meaning'
      if (ownFields(after) !== ownFields(live)) return 'ownership'
    } catch (error) {
      // The write itself will say why.
      if (refusalSentence(desired, error) !== undefined) return 'meaning'
      throw error
    }
    this.#settle(queue, desired, live)
    return 'none'
  }

  #isSettled(queue: TaskQueue, desired: KubeObject, live: KubeObject): boolean {
    const settled = this.#settled.get(keyOf(queue))?.get(`${desired.kind}/${keyOf(desired)}`)
    return settled?.wanted === JSON.stringify(desired) && settled.version === versionOf(live)
  }

  #settle(queue: TaskQueue, desired: KubeObject, live: KubeObject): void {
    const objects = this.#settled.get(keyOf(queue)) ?? new Map<string, { wanted: string; version: string }>()
    objects.set(`${desired.kind}/${keyOf(desired)}`, { wanted: JSON.stringify(desired), version: versionOf(live) })
    this.#settled.set(keyOf(queue), objects)
  }

  /** Forgets what was remembered of a TaskQueue that is gone. */
  forget(key: ObjectKey): void {
    this.#settled.delete(key)
  }

  /**
   * Sets the number of pods as the scaler. Not written when it is right and no owner of the template would take it away by its next
   * apply. Returns whether it was.
   */
  async scale(live: LiveDeployment, replicas: number, cache: Cache<LiveDeployment>): Promise<boolean> {
    const held = ownsReplicas(live, SCALER) || !ownsReplicas(live, FIELD_MANAGER)
    if (live.spec.replicas === replicas && held) return false
    const { namespace = '', name } = live.metadata
    const scale = { apiVersion: 'autoscaling/v1', kind: 'Scale', metadata: { namespace, name }, spec: { replicas } }
    const { metadata } = await this.#client.apply<KubeObject>(scale, SCALER, 'scale')
    // Known here before the watch tells it, and as a number that its controller has not seen: who compares with the old one meanwhile
    // would take the marks off the pods that go, or think that the old number still stands.
    cache.upsert({
      ...live,
      metadata: {
        ...live.metadata,
        ...(metadata.resourceVersion === undefined ? {} : { resourceVersion: metadata.resourceVersion }),
        generation: (live.metadata.generation ?? 0) + 1,
      },
      spec: { ...live.spec, replicas },
    })
    return true
  }

  async remove(live: KubeObject): Promise<void> {
    const { namespace = '', name, uid } = live.metadata
    await this.#client.delete(resourceOf(live.kind), namespace, name, uid === undefined ? {} : { uid })
  }

  async #read<T extends KubeObject>(desired: T): Promise<T | undefined> {
    return this.#client.get<T>(resourceOf(desired.kind), desired.metadata.namespace ?? '', desired.metadata.name)
  }

  /** Creates by server-side apply, in one request and only when there is no object of the name. */
  async #create<T extends KubeObject>(desired: T, cache: Cache<T>): Promise<WriteOutcome | 'taken'> {
    // A version that no object has: it conflicts with whatever is there, and with nothing when nothing is.
    const metadata = { ...desired.metadata, resourceVersion: '1' }
    try {
      return await this.#write({ ...desired, metadata }, cache, 'created')
    } catch (error) {
      if (isConflict(error)) return 'taken'
      throw error
    }
  }

  async #write<T extends KubeObject>(desired: T, cache: Cache<T>, how: 'created' | 'changed'): Promise<WriteOutcome> {
    try {
      cache.upsert(await this.#client.apply<T>(desired, FIELD_MANAGER))
      return how
    } catch (error) {
      const refusal = refusalSentence(desired, error)
      if (refusal === undefined) throw error
      return { refused: refusal }
    }
  }
}

/** Why the object can not be ours; undefined when it is, or can be. */
export function strangerSentence(queue: TaskQueue, live: KubeObject): string | undefined {
  const { kind, metadata } = live
  if (metadata.deletionTimestamp !== undefined)
    return `${kind} ${metadata.name} is still being deleted; it is made anew when it is gone.`
  const owner = metadata.ownerReferences?.find((reference) => reference.controller === true)
  // A volume that was retained has no owner and is taken up again.
  if (!owner && kind === 'PersistentVolumeClaim' && metadata.labels?.[labelKeys.taskQueue] === queue.metadata.name)
    return undefined
  if (owner?.uid === queue.metadata.uid) return undefined
  const whose = owner ? `belongs to ${owner.kind} ${owner.name}` : 'was not made by the operator'
  return `A ${kind} named ${metadata.name} exists and ${whose}: it is left alone. Delete it, or rename the TaskQueue or the pool.`
}

/** A sentence for a refusal that only a person can cure; undefined for what may pass by itself. */
export function refusalSentence(object: KubeObject, error: unknown): string | undefined {
  if (!(error instanceof ApiError) || ![400, 403, 422].includes(error.status)) return undefined
  return `${object.kind} ${object.metadata.name} was refused by the API server: ${error.explanation}`
}

/** The companion of a live Deployment. */
function companionOf(live: LiveDeployment): ContainerSeen | undefined {
  return live.spec.template.spec.initContainers?.find((container) => container.name === COMPANION)
}

/** Whether the companion that runs is the very one that is wanted: then no apply rolls pods for its sake. */
function hasItsCompanion(live: LiveDeployment, { spec }: DesiredDeployment): boolean {
  const wanted = spec.template.spec?.initContainers?.find((container) => container.name === COMPANION)
  const running = companionOf(live)
  const policy = wanted?.imagePullPolicy ?? running?.imagePullPolicy
  return wanted?.image === running?.image && policy === running?.imagePullPolicy
}

/** The fields that are ours, as text. */
function ownFields({ metadata }: KubeObject): string {
  const ours = (metadata.managedFields ?? []).filter(
    ({ manager, operation, subresource = '' }) =>
      manager === FIELD_MANAGER && operation === 'Apply' && subresource === '',
  )
  return JSON.stringify(ours.map(({ fieldsV1 }) => fieldsV1))
}

function ownsReplicas(live: LiveDeployment, manager: string): boolean {
  return (live.metadata.managedFields ?? []).some((entry) => {
    const spec = entry.fieldsV1?.['f:spec']
    return entry.manager === manager && typeof spec === 'object' && spec !== null && 'f:replicas' in spec
  })
}

/** Changes when someone changes the object's meaning; a Deployment's status updates don't. */
function versionOf(live: KubeObject): string {
  const { generation, uid, labels, annotations, resourceVersion } = live.metadata
  return generation === undefined ? (resourceVersion ?? '') : JSON.stringify([uid, generation, labels, annotations])
}

/** Whether the object is this TaskQueue's own. */
export function isOwn(queue: TaskQueue, object: KubeObject): boolean {
  return controllerOf(object, 'TaskQueue')?.uid === queue.metadata.uid
}
