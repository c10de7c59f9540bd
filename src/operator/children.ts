// Writes the objects that a TaskQueue should have: applies what differs, creates what is missing, never takes over a stranger's
// object. Not a decision about what should exist: that is desired/.

import { difference } from './difference.ts'
import { COMPANION } from './desired/companion.ts'
import { labelKeys } from './desired/names.ts'
import { withCompanionImage, type DesiredDeployment } from './desired/worker.ts'
import { ApiError } from './errors.ts'
import type { Cache } from './kube/cache.ts'
import type { KubeClient } from './kube/client.ts'
import { resourceOf } from './kube/resources.ts'
import { controllerOf, keyOf, type KubeObject, type LiveDeployment } from './objects.ts'
import type { TaskQueue } from './taskqueue.ts'

/** Owner of all fields but the number of replicas. */
export const FIELD_MANAGER = 'taskqueue-operator'
/** Owner of the number of replicas alone, so that an HPA can take it over. */
export const SCALER = 'taskqueue-scaler'

export type WriteOutcome = 'unchanged' | 'created' | 'changed' | { refused: string }

export class Children {
  readonly #client: KubeClient
  /** What the API server made of an apply that still differs afterwards: not tried again until one of the two changes. */
  readonly #settled = new Map<string, { wanted: string; version: string }>()

  constructor(client: KubeClient) {
    this.#client = client
  }

  /** Makes the object what it should be. Refusals by the API server are returned, other errors thrown. */
  async ensure<T extends KubeObject>(queue: TaskQueue, desired: T, cache: Cache<T>): Promise<WriteOutcome> {
    const key = keyOf(desired)
    // The cache knows only what has our label: before the first write, look whether the name is free.
    const live = cache.get(key) ?? (await this.#read<T>(desired))
    if (!live) return this.#write(desired, cache, 'created')
    const stranger = strangerSentence(queue, live)
    if (stranger !== undefined) return { refused: stranger }
    if (difference(desired, live, FIELD_MANAGER) === undefined) return 'unchanged'
    const wanted = JSON.stringify(desired)
    const settled = this.#settled.get(key)
    if (settled?.wanted === wanted && settled.version === versionOf(live)) return 'unchanged'
    const outcome = await this.#write(desired, cache, 'changed')
    const after = cache.get(key)
    // Fields that the API server drops or rewrites would else be applied for ever.
    if (after && difference(desired, after, FIELD_MANAGER) !== undefined)
      this.#settled.set(key, { wanted, version: versionOf(after) })
    else this.#settled.delete(key)
    return outcome
  }

  /**
   * A Deployment, which starts with `replicas` and keeps the companion image it has until it rolls for another reason, or until
   * that companion fails.
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
      // Written with its number, or the API server would make it 1 first.
      const outcome = await this.ensure(queue, { ...typed, spec: { ...typed.spec, replicas } }, cache)
      if (outcome !== 'created') return outcome
      await this.scale(cache.get(keyOf(desired)) ?? typed, replicas)
      return outcome
    }
    const kept = companionFails ? desired : withCompanionImage(desired, companionImage(live))
    if (live && difference(kept, live, FIELD_MANAGER) === undefined) return 'unchanged'
    return this.ensure(queue, typed, cache)
  }

  /** Sets the number of pods as the scaler; a no-op is not written. Returns whether it was. */
  async scale(live: LiveDeployment, replicas: number): Promise<boolean> {
    if (live.spec.replicas === replicas && ownsReplicas(live)) return false
    const { namespace = '', name } = live.metadata
    const scale = { apiVersion: 'autoscaling/v1', kind: 'Scale', metadata: { namespace, name }, spec: { replicas } }
    await this.#client.apply(scale, SCALER, 'scale')
    return true
  }

  async remove(live: KubeObject): Promise<void> {
    const { namespace = '', name, uid } = live.metadata
    await this.#client.delete(resourceOf(live.kind), namespace, name, uid === undefined ? {} : { uid })
  }

  async #read<T extends KubeObject>(desired: T): Promise<T | undefined> {
    return this.#client.get<T>(resourceOf(desired.kind), desired.metadata.namespace ?? '', desired.metadata.name)
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

/** The companion's image in a live Deployment. */
function companionImage(live: LiveDeployment | undefined): string | undefined {
  return live?.spec.template.spec.initContainers?.find((container) => container.name === COMPANION)?.image
}

function ownsReplicas(live: LiveDeployment): boolean {
  return (live.metadata.managedFields ?? []).some((entry) => {
    const spec = entry.fieldsV1?.['f:spec']
    return entry.manager === SCALER && typeof spec === 'object' && spec !== null && 'f:replicas' in spec
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
