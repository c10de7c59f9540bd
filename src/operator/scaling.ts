// How many pods each pool should have now, and why: from the spec, suspend, the backlog and the time. Remembers when a pool last
// needed its pods and last grew; a restart loses that, and the cooldown begins anew. Not the writing: that is children.ts.

import { autoscale, type Load, type ScaleDecision } from './autoscale.ts'
import type { Clock } from './clock.ts'
import { queuesOf } from './desired/environment.ts'
import { MARK_SETTLES_MS, drainPlan, isShrinking, type DrainPlan } from './drain.ts'
import type { BrokerObservation, PodPresence } from './inspect/observation.ts'
import { keyOf, type LiveDeployment, type LivePod, type ObjectKey } from './objects.ts'
import type { TaskQueue, WorkerPool } from './taskqueue.ts'

export interface PoolScale {
  /** Undefined where an HPA owns the number. */
  replicas: number | undefined
  /** For an Event. */
  why: string
  /** The number that suspend took it from. */
  before?: number
  /** When to look again although nothing changes: a cooldown or a step ends then. Milliseconds. */
  againMs?: number
  /** Pods that are to go, and those of them that may. */
  drain?: DrainPlan
}

/** What is there of a pool. */
export interface PoolNow {
  /** Its own Deployment, if there is one. */
  live: LiveDeployment | undefined
  pods: readonly LivePod[]
  /** UIDs of the pods whose mark to go everybody has heard of. */
  marked: ReadonlySet<string>
}

/** When an autoscaled pool last needed all its pods and last grew, on the monotonic clock. */
interface Memory {
  neededAt: number
  steppedAt: number
}

export class Scaling {
  readonly #clock: Clock
  readonly #memory = new Map<ObjectKey, Map<string, Memory>>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  scaleOf(queue: TaskQueue, pool: WorkerPool, now: PoolNow, broker: BrokerObservation | undefined): PoolScale {
    const { live } = now
    const known = queue.status?.pools?.find((p) => p.name === pool.name)?.suspendedReplicas
    if (queue.spec.suspend) {
      // One that was never there comes back as Kubernetes would have begun it, or an HPA would find 0 and leave it.
      const before = known ?? pool.replicas ?? (live ? live.spec.replicas : pool.autoscale ? undefined : 1)
      return { replicas: 0, why: 'spec.suspend is true', ...(before === undefined ? {} : { before }) }
    }
    if (pool.replicas !== undefined) return { replicas: pool.replicas, why: `spec.workers["${pool.name}"].replicas` }
    if (!pool.autoscale) return { replicas: known, why: 'as it was before suspend' }
    return this.#byBacklog(queue, pool, pool.autoscale, now, broker)
  }

  #byBacklog(
    queue: TaskQueue,
    pool: WorkerPool,
    spec: NonNullable<WorkerPool['autoscale']>,
    pods: PoolNow,
    broker: BrokerObservation | undefined,
  ): PoolScale {
    const { replicas: current = spec.minReplicas } = pods.live?.spec ?? {}
    const now = this.#clock.monotonic()
    const memory = this.#memoryOf(keyOf(queue), pool.name, now)
    const load = loadOf(queue, pool, broker)
    const decide = (drained: number): ScaleDecision =>
      autoscale(spec, current, load, {
        millisSinceNeeded: now - memory.neededAt,
        millisSinceStep: now - memory.steppedAt,
        drained,
      })
    const decision = decide(0)
    if (decision.needed) memory.neededAt = now
    if (decision.replicas > current) memory.steppedAt = now
    if (decision.excess === undefined || !broker?.reachable) return decision
    const { going, ...shrink } = shrinkOf(pods, broker.presence, current, decision.excess, load?.inFlight === 0)
    return { ...(going === 0 ? decision : decide(going)), ...shrink }
  }

  forget(key: ObjectKey): void {
    this.#memory.delete(key)
  }

  #memoryOf(key: ObjectKey, pool: string, now: number): Memory {
    const pools = this.#memory.get(key) ?? new Map<string, Memory>()
    const memory = pools.get(pool) ?? { neededAt: now, steppedAt: Number.NEGATIVE_INFINITY }
    this.#memory.set(key, pools.set(pool, memory))
    return memory
  }
}

/** How many of the pods that are too many may go now, and which are to. */
function shrinkOf(
  { live, pods, marked }: PoolNow,
  presence: readonly PodPresence[],
  current: number,
  excess: number,
  resting: boolean,
): { going: number } & Pick<PoolScale, 'drain' | 'againMs'> {
  const absent = Math.max(0, current - (live?.status?.replicas ?? 0))
  const drain = drainPlan(pods, presence, excess - absent, resting)
  if (live && isUnclear(live, pods)) return { going: 0, drain: { ...drain, drained: [] } }
  const gone = drain.drained.filter(({ metadata }) => marked.has(metadata.uid ?? '')).length
  const waits = gone < drain.drained.length ? { againMs: MARK_SETTLES_MS } : {}
  return { going: absent + gone, drain, ...waits }
}

/**
 * While pods are replaced, or still removed for an earlier number, or Deployment and pods have not been heard of alike, it is not known
 * whose turn it is to go.
 */
function isUnclear(live: LiveDeployment, pods: readonly LivePod[]): boolean {
  const { replicas = 0, updatedReplicas = 0 } = live.status ?? {}
  return updatedReplicas !== replicas || isShrinking(live) || pods.length !== replicas
}

function loadOf(queue: TaskQueue, pool: WorkerPool, broker: BrokerObservation | undefined): Load | undefined {
  if (!broker?.reachable) return undefined
  // Python's records don't name their queue: as long as there are any, a pod of ours may be busy.
  const load = { waiting: 0, inFlight: queue.spec.engine === 'Celery' ? broker.foreignInFlight : 0 }
  for (const name of queuesOf(queue, pool)) {
    load.waiting += broker.queues.get(name)?.waiting ?? 0
    load.inFlight += broker.queues.get(name)?.inFlight ?? 0
  }
  return load
}
