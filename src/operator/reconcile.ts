// One TaskQueue, level-triggered: read the caches, build what should be, write the differences, write status when it changed.
// In the steady state it writes nothing. It holds no state that a restart could not lose.

import { autoscale } from './autoscale.ts'
import { nextBeatAction, type BeatAction, type BeatHistory } from './beatpod.ts'
import { Children, FIELD_MANAGER, isOwn, refusalSentence, strangerSentence, type WriteOutcome } from './children.ts'
import type { Clock } from './clock.ts'
import { eventfulFindings, isBad } from './conditions.ts'
import { BEAT } from './desired/beat.ts'
import { desiredOf, type Desired } from './desired/index.ts'
import type { OperatorInputs, OverlayPolicy } from './desired/inputs.ts'
import { COMPANION } from './desired/companion.ts'
import { annotationKeys, labelKeys, names } from './desired/names.ts'
import { queuesOf } from './desired/environment.ts'
import { schedulesHash } from './desired/schedules.ts'
import type { DesiredVolumeClaim } from './desired/volume.ts'
import { WORKER } from './desired/worker.ts'
import { isNotFound } from './errors.ts'
import type { EventRecorder } from './events.ts'
import type { BrokerObservation } from './inspect/observation.ts'
import type { Cache } from './kube/cache.ts'
import type { KubeClient } from './kube/client.ts'
import { pods as podResource, taskQueues } from './kube/resources.ts'
import type { Outcome } from './kube/workqueue.ts'
import {
  keyOf,
  type Condition,
  type KubeObject,
  type LiveConfigMap,
  type LiveDeployment,
  type LivePod,
} from './objects.ts'
import { isFailing } from './podtrouble.ts'
import { isReady, statusOf, type Situation } from './status.ts'
import type { TaskQueue, TaskQueueStatus, WorkerPool } from './taskqueue.ts'

export interface Caches {
  taskQueues: Cache<TaskQueue>
  deployments: Cache<LiveDeployment>
  pods: Cache<LivePod>
  configMaps: Cache<LiveConfigMap>
  volumeClaims: Cache<DesiredVolumeClaim>
}

/** Where a TaskQueue's broker is looked at. Implemented by inspect/, which alone talks to brokers. */
export interface Inspector {
  /** Looks at the broker of this TaskQueue from now on. Asking again with the same spec changes nothing. */
  follow(queue: TaskQueue, queues: readonly string[]): void
  latest(key: string): BrokerObservation | undefined
  forget(key: string): void
}

const STATUS_MANAGER = 'taskqueue-operator-status'
/** A Pod that should be gone is looked at again after this, since nothing tells that time passed. */
const TERMINATING_CHECK_MS = 5_000
const REFUSED_RETRY_MS = 30_000

export class Reconciler {
  readonly #client: KubeClient
  readonly #caches: Caches
  readonly #inspector: Inspector
  readonly #events: EventRecorder
  readonly #clock: Clock
  readonly #inputs: OperatorInputs & OverlayPolicy
  readonly #children: Children
  /** When each autoscaled pool last needed all its pods, on the monotonic clock. Lost with a restart: the cooldown begins anew. */
  readonly #neededAt = new Map<string, number>()

  constructor(
    client: KubeClient,
    caches: Caches,
    inspector: Inspector,
    events: EventRecorder,
    clock: Clock,
    inputs: OperatorInputs & OverlayPolicy,
  ) {
    this.#client = client
    this.#caches = caches
    this.#inspector = inspector
    this.#events = events
    this.#clock = clock
    this.#inputs = inputs
    this.#children = new Children(client)
  }

  async reconcile(key: string): Promise<Outcome> {
    const queue = this.#caches.taskQueues.get(key)
    if (!queue || queue.metadata.deletionTimestamp !== undefined) {
      // No finalizer: garbage collection removes the children, whose grace periods drain them.
      this.#inspector.forget(key)
      return {}
    }
    const pools = queue.spec.workers ?? []
    this.#inspector.follow(queue, [...new Set(pools.flatMap((pool) => queuesOf(queue, pool)))])
    const desired = this.#desired(queue, key)
    const refused: string[] = []
    const note = (outcome: WriteOutcome, object: KubeObject): void => {
      if (typeof outcome === 'object') refused.push(outcome.refused)
      else if (outcome === 'created') this.#tell(queue, 'Created', `Created ${object.kind} ${object.metadata.name}.`)
    }

    if (desired.volumeClaim)
      note(await this.#children.ensure(queue, desired.volumeClaim, this.#caches.volumeClaims), desired.volumeClaim)
    if (desired.schedules)
      note(await this.#children.ensure(queue, desired.schedules, this.#caches.configMaps), desired.schedules)
    const { wanted, suspendedReplicas } = await this.#ensureWorkers(queue, key, desired, note)
    const beat = await this.#ensureBeat(queue, desired)
    await this.#removeOrphans(queue, key, desired)

    await this.#writeStatus(queue, {
      queue,
      desired,
      deployments: new Map(this.#own(queue, this.#caches.deployments).map((d) => [d.metadata.name, d])),
      pods: this.#caches.pods.ownedBy(key),
      beatPod: beat.live,
      beatHistory: beat.history,
      ...(beat.refusal === undefined ? {} : { beatRefusal: beat.refusal }),
      broker: this.#inspector.latest(key),
      refused,
      wanted,
      suspendedReplicas,
      now: this.#clock.now(),
    })
    const again = [beat.againMs, refused.length > 0 ? REFUSED_RETRY_MS : undefined].filter((ms) => ms !== undefined)
    return again.length > 0 ? { requeueAfterMs: Math.min(...again) } : {}
  }

  #desired(queue: TaskQueue, key: string): Desired {
    const beatPod = this.#caches.pods.get(`${queue.metadata.namespace ?? ''}/${names.beatPod(queue)}`)
    const beatImage = beatPod?.spec.containers.find((container) => container.name === BEAT)?.image
    const schedules = this.#caches.configMaps.get(`${queue.metadata.namespace ?? ''}/${names.schedules(queue)}`)
    const proven = this.#caches.pods
      .ownedBy(key)
      .filter(isReady)
      .flatMap((pod) => pod.spec.containers.filter((c) => c.name === WORKER).map((c) => c.image ?? ''))
    return desiredOf(queue, {
      ...this.#inputs,
      provenImages: new Set(proven),
      ...(beatImage === undefined ? {} : { beatImage }),
      ...(schedules ? { schedules } : {}),
    })
  }

  async #ensureWorkers(
    queue: TaskQueue,
    key: string,
    desired: Desired,
    note: (outcome: WriteOutcome, object: KubeObject) => void,
  ): Promise<Pick<Situation, 'wanted' | 'suspendedReplicas'>> {
    const wanted = new Map<string, number | undefined>()
    const suspendedReplicas = new Map<string, number>()
    for (const pool of queue.spec.workers ?? []) {
      const live = this.#caches.deployments.get(`${queue.metadata.namespace ?? ''}/${names.deployment(queue, pool)}`)
      const own = live && isOwn(queue, live) ? live : undefined
      const scaling = this.#replicas(queue, key, pool, own)
      wanted.set(pool.name, scaling.replicas)
      if (scaling.before !== undefined) suspendedReplicas.set(pool.name, scaling.before)
      // Scale first: the template's apply gives up the number only after the scaler has it.
      if (own && scaling.replicas !== undefined && own.metadata.deletionTimestamp === undefined) {
        const from = own.spec.replicas
        if ((await this.#children.scale(own, scaling.replicas)) && from !== scaling.replicas) {
          this.#tell(
            queue,
            'Scaled',
            `Scaled pool ${pool.name} from ${from ?? 1} to ${scaling.replicas} pods: ${scaling.why}.`,
          )
        }
      }
      const built = desired.deployments.find((d) => d.metadata.name === names.deployment(queue, pool))
      if (!built) continue
      const pods = this.#caches.pods.ownedBy(key).filter((pod) => pod.metadata.labels?.[labelKeys.pool] === pool.name)
      const options = { replicas: scaling.replicas, companionFails: pods.some((pod) => isFailing(pod, [COMPANION])) }
      note(await this.#children.ensureDeployment(queue, built, options, this.#caches.deployments), built)
    }
    return { wanted, suspendedReplicas }
  }

  /** The number of pods of a pool and why; undefined where it is an HPA's to say. `before` is what suspend took it from. */
  #replicas(
    queue: TaskQueue,
    key: string,
    pool: WorkerPool,
    live: LiveDeployment | undefined,
  ): { replicas: number | undefined; why: string; before?: number } {
    const known = queue.status?.pools?.find((p) => p.name === pool.name)?.suspendedReplicas
    if (queue.spec.suspend) {
      const before = known ?? pool.replicas ?? live?.spec.replicas
      return { replicas: 0, why: 'spec.suspend is true', ...(before === undefined ? {} : { before }) }
    }
    if (pool.replicas !== undefined) return { replicas: pool.replicas, why: `spec.workers["${pool.name}"].replicas` }
    if (!pool.autoscale) return { replicas: known, why: 'as it was before suspend' }
    const current = live?.spec.replicas ?? pool.autoscale.minReplicas
    const id = `${key}/${pool.name}`
    const now = this.#clock.monotonic()
    const neededAt = this.#neededAt.get(id) ?? now
    const decision = autoscale(pool.autoscale, current, this.#load(queue, key, pool), now - neededAt)
    this.#neededAt.set(id, decision.needed ? now : neededAt)
    return { replicas: decision.replicas, why: decision.why }
  }

  #load(queue: TaskQueue, key: string, pool: WorkerPool): { waiting: number; inFlight: number } | undefined {
    const broker = this.#inspector.latest(key)
    if (!broker?.reachable) return undefined
    // Python's records don't name their queue: as long as there are any, a pod of ours may be busy.
    const load = { waiting: 0, inFlight: queue.spec.engine === 'Celery' ? broker.foreignInFlight : 0 }
    for (const name of queuesOf(queue, pool)) {
      load.waiting += broker.queues.get(name)?.waiting ?? 0
      load.inFlight += broker.queues.get(name)?.inFlight ?? 0
    }
    return load
  }

  async #ensureBeat(
    queue: TaskQueue,
    desired: Desired,
  ): Promise<{ live: LivePod | undefined; history: BeatHistory; refusal?: string; againMs?: number }> {
    const namespace = queue.metadata.namespace ?? ''
    const podKey = `${namespace}/${names.beatPod(queue)}`
    const live = this.#caches.pods.get(podKey)
    const history = historyOf(queue.status)
    // A refused template tears nothing down: what runs goes on, a Pod that is gone waits.
    const blocked = desired.templateProblems.length > 0
    const action: BeatAction = blocked
      ? { do: 'nothing' }
      : nextBeatAction({
          queueUid: queue.metadata.uid ?? '',
          desired: withSchedules(desired),
          live,
          history,
          now: this.#clock.now(),
        })
    switch (action.do) {
      case 'nothing':
        return { live, history }
      case 'wait':
        return { live, history, againMs: action.forMs ?? TERMINATING_CHECK_MS }
      case 'refuse':
        return { live: undefined, history, refusal: action.why, againMs: REFUSED_RETRY_MS }
      case 'delete':
        await this.#client.delete(podResource, namespace, names.beatPod(queue), { uid: action.uid })
        this.#tell(queue, 'BeatDeleted', `Deleted beat Pod ${names.beatPod(queue)}: ${action.why}.`)
        return { live: this.#caches.pods.get(podKey), history: action.history, againMs: TERMINATING_CHECK_MS }
      case 'relabel': {
        const patch = { metadata: { labels: action.labels, annotations: action.annotations } }
        const after = await this.#client.mergePatch<LivePod>(
          podResource,
          namespace,
          names.beatPod(queue),
          patch,
          FIELD_MANAGER,
        )
        this.#caches.pods.upsert(after)
        return { live: after, history }
      }
      case 'create':
        return this.#createBeat(queue, action)
    }
  }

  async #createBeat(
    queue: TaskQueue,
    action: Extract<BeatAction, { do: 'create' }>,
  ): Promise<{ live: LivePod | undefined; history: BeatHistory; refusal?: string; againMs?: number }> {
    const { namespace = '', name } = action.pod.metadata
    const before = historyOf(queue.status)
    // The cache knows only what has our label: look first whether the name is free.
    const other = await this.#client.get<LivePod>(podResource, namespace, name)
    if (other) {
      const stranger = strangerSentence(queue, other)
      if (stranger !== undefined)
        return { live: undefined, history: before, refusal: stranger, againMs: REFUSED_RETRY_MS }
      this.#caches.pods.upsert(other)
      return { live: other, history: before }
    }
    try {
      const created = await this.#client.create(action.pod, FIELD_MANAGER)
      this.#caches.pods.upsert(created)
      this.#tell(queue, 'BeatCreated', `Created beat Pod ${name}.`)
      return { live: created, history: action.history }
    } catch (error) {
      const refusal = refusalSentence(action.pod, error)
      if (refusal === undefined) throw error
      return { live: undefined, history: before, refusal, againMs: REFUSED_RETRY_MS }
    }
  }

  /** Objects that an earlier spec called for. Nothing is torn down for a spec that is refused. */
  async #removeOrphans(queue: TaskQueue, key: string, desired: Desired): Promise<void> {
    if (desired.templateProblems.length > 0) return
    const keep = new Set(
      [...desired.deployments, desired.schedules, desired.volumeClaim].flatMap((o) =>
        o ? `${o.kind}/${o.metadata.name}` : [],
      ),
    )
    const { deployments, configMaps, volumeClaims } = this.#caches
    const owned: KubeObject[] = [...deployments.ownedBy(key), ...configMaps.ownedBy(key), ...volumeClaims.ownedBy(key)]
    for (const object of owned) {
      if (keep.has(`${object.kind}/${object.metadata.name}`) || !isOwn(queue, object)) continue
      if (object.metadata.deletionTimestamp !== undefined) continue
      await this.#children.remove(object)
      this.#tell(queue, 'Deleted', `Deleted ${object.kind} ${object.metadata.name}, which the spec no longer has.`)
    }
  }

  #own<T extends KubeObject>(queue: TaskQueue, cache: Cache<T>): T[] {
    return cache.ownedBy(keyOf(queue)).filter((object) => isOwn(queue, object))
  }

  async #writeStatus(queue: TaskQueue, situation: Situation): Promise<void> {
    // After a start the broker has not been asked for a moment: what was known of it stays, or every restart would write twice.
    if (!situation.broker && queue.status?.observedGeneration === queue.metadata.generation) return
    const { findings, status } = statusOf(situation)
    if (sameJson(status, queue.status)) return
    const { namespace = '', name } = queue.metadata
    const { apiVersion, kind } = taskQueues
    try {
      const body = { apiVersion, kind, metadata: { namespace, name }, status } as KubeObject
      this.#caches.taskQueues.upsert(await this.#client.apply<TaskQueue>(body, STATUS_MANAGER, 'status'))
    } catch (error) {
      if (isNotFound(error)) return
      throw error
    }
    const before = (queue.status?.conditions ?? []) as Condition[]
    for (const finding of eventfulFindings(findings, before)) {
      this.#events.record(queue, {
        type: isBad(finding) ? 'Warning' : 'Normal',
        reason: finding.reason,
        message: `${finding.type}=${finding.status}: ${finding.message}`,
      })
    }
  }

  #tell(queue: TaskQueue, reason: string, message: string): void {
    this.#events.record(queue, { type: 'Normal', reason, message })
  }
}

function withSchedules(desired: Desired): Desired['beat'] {
  const hash = schedulesHash(desired.schedules)
  const beat = desired.beat
  if (!beat || hash === undefined) return beat
  const annotations = { ...beat.metadata.annotations, [annotationKeys.schedulesHash]: hash }
  return { ...beat, metadata: { ...beat.metadata, annotations } }
}

function historyOf(status: TaskQueueStatus | undefined): BeatHistory {
  const beat = status?.beat
  return {
    restarts: beat?.restarts ?? 0,
    ...(beat?.notBefore === undefined ? {} : { notBefore: new Date(beat.notBefore) }),
    ...(beat?.lastCreated === undefined ? {} : { lastCreated: new Date(beat.lastCreated) }),
  }
}

/** Equal as JSON, whatever the order of keys. */
function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  const [left, right] = [Object.entries(a), Object.entries(b)]
  return (
    left.length === right.length &&
    left.every(([key, value]) => key in b && sameJson(value, (b as Record<string, unknown>)[key]))
  )
}
