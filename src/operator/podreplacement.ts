// Carries out what stalled.ts decides: deletes the one pod, whose Deployment makes it anew. Remembers what it has replaced; a new leader
// begins anew.

import { refusalSentence } from './children.ts'
import type { Clock } from './clock.ts'
import { queuesOf } from './desired/environment.ts'
import { names } from './desired/names.ts'
import { isMarked } from './drain.ts'
import { isConflict } from './errors.ts'
import type { EventNote } from './events.ts'
import type { PatrolObservation } from './inspect/observation.ts'
import type { Cache } from './kube/cache.ts'
import type { KubeClient } from './kube/client.ts'
import { pods as podResource } from './kube/resources.ts'
import { keyOf, type LiveDeployment, type LivePod, type ObjectKey } from './objects.ts'
import { poolPods } from './poddrain.ts'
import type { PoolScale } from './scaling.ts'
import { nextReplacement, type Replaced, type StallPool, type StallStep } from './stalled.ts'
import type { TaskQueue } from './taskqueue.ts'

/** What it asks and tells. */
export interface ReplacementDeps {
  readonly client: KubeClient
  readonly clock: Clock
  /** Whether the broker answers at this moment. */
  readonly answers: (key: ObjectKey) => Promise<boolean>
  readonly tell: (queue: TaskQueue, note: EventNote) => void
  readonly onReplaced: (key: ObjectKey) => void
  readonly pods: Cache<LivePod>
}

/** What is there of a TaskQueue's pools. */
export interface LivePools {
  /** By their names. */
  readonly deployments: ReadonlyMap<string, LiveDeployment>
  /** The names of those that still replace pods. */
  readonly rolling: ReadonlySet<string>
  readonly scales: ReadonlyMap<string, PoolScale>
}

/** Workers may have begun to take since: the next look tells. */
const MOST_AGE_MS = 10_000

export class PodReplacement {
  readonly #deps: ReplacementDeps
  readonly #history = new Map<ObjectKey, Map<string, Replaced>>()

  constructor(deps: ReplacementDeps) {
    this.#deps = deps
  }

  forget(key: ObjectKey): void {
    this.#history.delete(key)
  }

  /** To be called after each look of patrol that saw something stand still. */
  async carryOut(queue: TaskQueue, patrol: PatrolObservation | undefined, live: LivePools): Promise<void> {
    const { suspend, patrol: spec } = queue.spec
    if (suspend || !spec.restartStalled || !patrol?.known || patrol.stalled.length === 0) return
    const { clock, answers, pods } = this.#deps
    const now = clock.monotonic()
    if (now - patrol.at > MOST_AGE_MS) return
    const key = keyOf(queue)
    const unknown = new Set(patrol.findings.filter(({ code }) => code === 'Unknown').map(({ subject }) => subject))
    const { stalled } = patrol
    const history = this.#history.get(key) ?? new Map<string, Replaced>()
    const step = nextReplacement({
      stalled,
      unknown,
      pools: stallPools(queue, pods, live),
      history,
      stalledSeconds: spec.stalledSeconds,
      now,
    })
    // It was seen a moment ago. A broker that went away meanwhile explains all of it.
    if (step.do === 'replace' && (await answers(key))) await this.#replace(queue, step)
  }

  async #replace(queue: TaskQueue, step: Extract<StallStep, { do: 'replace' }>): Promise<void> {
    const { client, clock, tell, onReplaced, pods } = this.#deps
    const { pod, pool, times } = step
    const { namespace = '', name, uid = '' } = pod.metadata
    const why = `Worker ${step.worker} took nothing for ${queue.spec.patrol.stalledSeconds} s and more, while messages waited in queue ${step.queue} beside its free slots`
    const at = clock.monotonic()
    try {
      const ending = await client.delete<LivePod>(podResource, namespace, name, { uid })
      if (ending) pods.upsert(ending)
      else pods.remove(pod)
    } catch (error) {
      // Another pod of the same name by now: the one that was meant is gone.
      if (isConflict(error)) return
      const refusal = refusalSentence(pod, error)
      if (refusal === undefined) throw error
      this.#remember(keyOf(queue), pool.name, { at, times, refused: true })
      tell(queue, { type: 'Warning', reason: 'StalledPodNotReplaced', message: `${why}. ${refusal}` })
      return
    }
    const stayed = new Set(pool.pods.map(({ metadata }) => metadata.uid ?? '').filter((other) => other !== uid))
    this.#remember(keyOf(queue), pool.name, { at, times, stayed })
    onReplaced(keyOf(queue))
    const again = times > 1 ? ` It is replacement ${times} in a row: the cause may lie elsewhere.` : ''
    tell(queue, {
      type: 'Warning',
      reason: 'StalledPodReplaced',
      message: `Replaced pod ${name}: ${why}. What it runs may end within its grace period.${again}`,
    })
  }

  #remember(key: ObjectKey, pool: string, replaced: Replaced): void {
    const pools = this.#history.get(key) ?? new Map<string, Replaced>()
    this.#history.set(key, pools.set(pool, replaced))
  }
}

function stallPools(queue: TaskQueue, cache: Cache<LivePod>, { deployments, rolling, scales }: LivePools): StallPool[] {
  return (queue.spec.workers ?? []).map((pool) => {
    const name = names.deployment(queue, pool)
    const pods = poolPods(cache, queue, pool)
    const drains = (scales.get(pool.name)?.drain?.draining.length ?? 0) > 0 || pods.some(isMarked)
    return {
      name: pool.name,
      queues: queuesOf(queue, pool),
      deployment: deployments.get(name),
      pods,
      moving: drains || rolling.has(name),
    }
  })
}
