// Carries out what drain.ts plans: has the pods that are to go told in the broker, and marks those that may go for their ReplicaSet.

import { refusalSentence, SCALER } from './children.ts'
import type { Clock } from './clock.ts'
import { annotationKeys, labelKeys } from './desired/names.ts'
import { DRAINED_COST, MARK_SETTLES_MS, isMarked, isShrinking } from './drain.ts'
import { isNotFound } from './errors.ts'
import type { Cache } from './kube/cache.ts'
import type { KubeClient } from './kube/client.ts'
import { pods as podResource } from './kube/resources.ts'
import { keyOf, type LiveDeployment, type LivePod, type ObjectKey } from './objects.ts'
import type { PoolScale } from './scaling.ts'
import type { TaskQueue, WorkerPool } from './taskqueue.ts'

/** A pool as it is now. */
export interface LivePool {
  readonly pool: WorkerPool
  /** Its own Deployment, if there is one. */
  readonly deployment: LiveDeployment | undefined
}

export class PodDrain {
  readonly #client: KubeClient
  readonly #pods: Cache<LivePod>
  readonly #clock: Clock
  /** When the marks of each TaskQueue's pods were first seen, by UID, on the monotonic clock. */
  readonly #markedAt = new Map<ObjectKey, Map<string, number>>()

  constructor(client: KubeClient, pods: Cache<LivePod>, clock: Clock) {
    this.#client = client
    this.#pods = pods
    this.#clock = clock
  }

  /** The UIDs of the TaskQueue's pods whose mark everybody has heard of by now. */
  settled(key: ObjectKey): ReadonlySet<string> {
    const now = this.#clock.monotonic()
    const before = this.#markedAt.get(key)
    const uids = this.#pods.ownedBy(key).flatMap((pod) => (isMarked(pod) ? [pod.metadata.uid ?? ''] : []))
    const marks = new Map(uids.map((uid) => [uid, before?.get(uid) ?? now]))
    this.#markedAt.set(key, marks)
    return new Set(uids.filter((uid) => now - (marks.get(uid) ?? now) >= MARK_SETTLES_MS))
  }

  forget(key: ObjectKey): void {
    this.#markedAt.delete(key)
  }

  /**
   * Marks the pods that may go, before their number is lowered, and takes the mark from those that stay after all.
   * @returns the UIDs of the pods that are to take nothing any more
   */
  async carryOut(
    queue: TaskQueue,
    pools: readonly LivePool[],
    scales: ReadonlyMap<string, PoolScale>,
  ): Promise<string[]> {
    const draining: LivePod[] = []
    for (const { pool, deployment } of pools) {
      const plan = scales.get(pool.name)?.drain
      const marked = poolPods(this.#pods, queue, pool).filter(isMarked)
      for (const pod of plan?.drained ?? []) if (!isMarked(pod)) await this.#mark(pod, DRAINED_COST)
      draining.push(...(plan?.draining ?? []))
      // It is gone for its ReplicaSet, which has only not come to it: were it told to go on now, it would be stopped in a task.
      if (deployment && isShrinking(deployment)) draining.push(...marked)
      else for (const pod of marked) if (!plan?.drained.includes(pod)) await this.#mark(pod, null)
    }
    return [...new Set(draining.map(({ metadata }) => metadata.uid ?? ''))].toSorted()
  }

  async #mark(pod: LivePod, cost: string | null): Promise<void> {
    const { namespace = '', name } = pod.metadata
    const patch = { metadata: { annotations: { [annotationKeys.deletionCost]: cost } } }
    try {
      this.#pods.upsert(await this.#client.mergePatch<LivePod>(podResource, namespace, name, patch, SCALER))
    } catch (error) {
      // A pod that may not be marked, by somebody's policy, stays; the rest of the TaskQueue must not wait for it.
      if (!isNotFound(error) && refusalSentence(pod, error) === undefined) throw error
    }
  }
}

/** The pods of a pool that its ReplicaSet counts: not told to end, and not at their end (evicted, for example). */
export function poolPods(cache: Cache<LivePod>, queue: TaskQueue, { name }: Pick<WorkerPool, 'name'>): LivePod[] {
  return cache
    .ownedBy(keyOf(queue))
    .filter(({ metadata }) => metadata.labels?.[labelKeys.pool] === name && metadata.deletionTimestamp === undefined)
    .filter(({ status }) => status?.phase !== 'Failed' && status?.phase !== 'Succeeded')
}
