// One TaskQueue, level-triggered: read the caches, build what should be, write the differences, write status when it changed.
// In the steady state it writes nothing. It holds no state that a restart could not lose.

import { atOnce } from './atonce.ts'
import { BeatControl, type BeatOutcome } from './beatcontrol.ts'
import { Children, isOwn, type WriteOutcome } from './children.ts'
import type { Clock } from './clock.ts'
import { eventfulFindings, isBad } from './conditions.ts'
import { desiredOf, type Desired } from './desired/index.ts'
import type { Observed, OperatorInputs, OverlayPolicy } from './desired/inputs.ts'
import { COMPANION } from './desired/companion.ts'
import { annotationKeys, labelKeys, names } from './desired/names.ts'
import { queuesOf } from './desired/environment.ts'
import type { DesiredVolumeClaim } from './desired/volume.ts'
import { WORKER } from './desired/worker.ts'
import type { EventRecorder } from './events.ts'
import type { BrokerObservation, PatrolObservation } from './inspect/observation.ts'
import type { Cache } from './kube/cache.ts'
import type { KubeClient } from './kube/client.ts'
import type { Outcome } from './kube/workqueue.ts'
import {
  keyOf,
  type Condition,
  type KubeObject,
  type LiveConfigMap,
  type LiveDeployment,
  type LivePod,
  type ObjectKey,
} from './objects.ts'
import { PatrolEvents } from './patrolevents.ts'
import { patrolFindings } from './patrolfinding.ts'
import type { PatrolMetrics } from './patrolmetrics.ts'
import { PodDrain, poolPods } from './poddrain.ts'
import { isFailing, isReady } from './podtrouble.ts'
import { PodReplacement } from './podreplacement.ts'
import { Rollouts } from './rollouts.ts'
import { Scaling, type PoolScale } from './scaling.ts'
import type { Situation } from './situation.ts'
import { failedStatus, historyStatus, statusOf } from './status.ts'
import { StatusWriter } from './statuswriter.ts'
import type { TaskQueue, WorkerPool } from './taskqueue.ts'

export interface Caches {
  taskQueues: Cache<TaskQueue>
  deployments: Cache<LiveDeployment>
  pods: Cache<LivePod>
  configMaps: Cache<LiveConfigMap>
  volumeClaims: Cache<DesiredVolumeClaim>
  /** What stands beside the pods, by kind; of a kind that the cluster doesn't have there is none. */
  supports: ReadonlyMap<string, Cache<KubeObject>>
}

/** Where a TaskQueue's broker is looked at. Implemented by inspect/, which alone talks to brokers. */
export interface Inspector {
  /** Looks at the broker of this TaskQueue from now on. Asking again with the same spec changes nothing. */
  follow(queue: TaskQueue, queues: readonly string[]): void
  latest(key: string): BrokerObservation | undefined
  /** Has these pods, and no others of the TaskQueue, told to take nothing any more. */
  drain(key: string, podUids: readonly string[]): void
  /** What patrol has seen; undefined before its second look. */
  patrol(key: string): PatrolObservation | undefined
  /** Whether the broker answers at this moment. */
  answers(key: string): Promise<boolean>
  forget(key: string): void
}

/**
 * A text that changes with the Secrets that a TaskQueue's pods read; null when they read none, undefined while they can't be read.
 */
export type RevisionOfSecrets = (queue: TaskQueue) => Promise<string | null | undefined>

const REFUSED_RETRY_MS = 30_000
/** Writes of one TaskQueue that are under way at once. */
const AT_ONCE = 4
/** One failure may be a hiccup of the API server, which the next attempt mends; so many in a row are told in status. */
const FAILURES_TOLD = 3

export class Reconciler {
  readonly #caches: Caches
  readonly #inspector: Inspector
  readonly #events: EventRecorder
  readonly #clock: Clock
  readonly #inputs: OperatorInputs & OverlayPolicy
  readonly #revisionOf: RevisionOfSecrets
  readonly #children: Children
  readonly #beat: BeatControl
  readonly #scaling: Scaling
  readonly #drain: PodDrain
  readonly #status: StatusWriter
  readonly #replacement: PodReplacement
  readonly #patrolEvents: PatrolEvents
  readonly #patrolMetrics: PatrolMetrics
  readonly #rollouts = new Rollouts()
  /** Failures in a row of a TaskQueue's reconcile. */
  readonly #failures = new Map<ObjectKey, number>()

  constructor(
    client: KubeClient,
    caches: Caches,
    inspector: Inspector,
    events: EventRecorder,
    clock: Clock,
    inputs: OperatorInputs & OverlayPolicy,
    revisionOf: RevisionOfSecrets,
    patrolMetrics: PatrolMetrics,
  ) {
    this.#caches = caches
    this.#inspector = inspector
    this.#events = events
    this.#clock = clock
    this.#inputs = inputs
    this.#revisionOf = revisionOf
    this.#children = new Children(client)
    this.#beat = new BeatControl(client, caches.pods, clock, (queue, reason, message) =>
      this.#tell(queue, reason, message),
    )
    this.#scaling = new Scaling(clock)
    this.#drain = new PodDrain(client, caches.pods, clock)
    this.#status = new StatusWriter(client, caches.taskQueues, clock)
    this.#patrolEvents = new PatrolEvents(events)
    this.#patrolMetrics = patrolMetrics
    this.#replacement = new PodReplacement({
      client,
      clock,
      pods: caches.pods,
      answers: (key) => inspector.answers(key),
      tell: (queue, note) => events.record(queue, note),
      onReplaced: (key) => patrolMetrics.restarted(key),
    })
  }

  async reconcile(key: ObjectKey): Promise<Outcome> {
    const queue = this.#caches.taskQueues.get(key)
    if (!queue || queue.metadata.deletionTimestamp !== undefined) {
      // No finalizer: garbage collection removes the children, whose grace periods drain them.
      this.#inspector.forget(key)
      this.#children.forget(key)
      this.#scaling.forget(key)
      this.#drain.forget(key)
      this.#rollouts.forget(key)
      this.#replacement.forget(key)
      this.#patrolEvents.forget(key)
      this.#patrolMetrics.forget(key)
      this.#failures.delete(key)
      return {}
    }
    try {
      const outcome = await this.#reconcile(queue, key)
      this.#failures.delete(key)
      return outcome
    } catch (error) {
      const failures = (this.#failures.get(key) ?? 0) + 1
      this.#failures.set(key, failures)
      // As good an attempt as can be made: the API server itself may be what fails.
      if (failures >= FAILURES_TOLD)
        await this.#status.write(queue, failedStatus(queue, error, this.#clock.now())).catch(() => undefined)
      throw error
    }
  }

  async #reconcile(queue: TaskQueue, key: ObjectKey): Promise<Outcome> {
    const pools = queue.spec.workers ?? []
    this.#inspector.follow(queue, [...new Set(pools.flatMap((pool) => queuesOf(queue, pool)))])
    const scales = this.#scales(queue, key)
    const desired = this.#desired(queue, key, scales, await this.#revisionOf(queue))
    const { refused, beat } = await this.#ensureAll(queue, key, desired, scales)
    await this.#removeOrphans(queue, key, desired)

    const own = this.#own(queue, this.#caches.deployments)
    const rolling = this.#rollouts.rolling(key, own)
    const deployments = new Map(own.map((deployment) => [deployment.metadata.name, deployment]))
    const patrol = this.#inspector.patrol(key)
    await this.#replacement.carryOut(queue, patrol, { deployments, rolling, scales })
    await this.#writeStatus(queue, {
      queue,
      desired,
      deployments,
      rolling,
      pods: this.#caches.pods.ownedBy(key),
      beatPod: beat.live,
      beatHistory: beat.history,
      ...(beat.refusal === undefined ? {} : { beatRefusal: beat.refusal }),
      broker: this.#inspector.latest(key),
      patrol,
      refused,
      scales,
      disciplineAllowed: this.#inputs.allowDiscipline,
      now: this.#clock.now(),
    })
    const again = [
      beat.againMs,
      refused.length > 0 ? REFUSED_RETRY_MS : undefined,
      ...[...scales.values()].map((scale) => scale.againMs),
    ].filter((ms) => ms !== undefined)
    return again.length > 0 ? { requeueAfterMs: Math.min(...again) } : {}
  }

  async #ensureAll(
    queue: TaskQueue,
    key: ObjectKey,
    desired: Desired,
    scales: ReadonlyMap<string, PoolScale>,
  ): Promise<{ refused: string[]; beat: BeatOutcome }> {
    const [refused, made]: [string[], string[]] = [[], []]
    const note = (outcome: WriteOutcome, object: KubeObject): void => {
      if (typeof outcome === 'object') refused.push(outcome.refused)
      else if (outcome === 'created') made.push(`${object.kind} ${object.metadata.name}`)
    }
    try {
      await this.#ensureSupports(queue, desired, refused, note)
      await this.#status.rememberReplicas(queue, scales)
      await this.#drainPods(queue, key, scales)
      await this.#ensureWorkers(queue, key, desired, scales, note)
    } finally {
      // One Event for all of them, also when the next could not be made.
      if (made.length > 0) this.#tell(queue, 'Created', `Created ${made.join(', ')}.`)
    }
    // In an order of their own, whatever came first: the same refusals must make the same status.
    return { refused: refused.sort(), beat: await this.#beat.ensure(queue, desired) }
  }

  /** What pods need, or what must be there before them. */
  async #ensureSupports(
    queue: TaskQueue,
    { supports: [account, ...others], volumeClaim, schedules }: Desired,
    refused: string[],
    note: (outcome: WriteOutcome, object: KubeObject) => void,
  ): Promise<void> {
    const { supports, configMaps, volumeClaims } = this.#caches
    const support = async (object: KubeObject): Promise<void> => {
      const cache = supports.get(object.kind)
      if (cache) note(await this.#children.ensure(queue, object, cache), object)
      else refused.push(absentSentence(object))
    }
    if (account) await support(account)
    const rest = others.map((object) => () => support(object))
    if (volumeClaim)
      rest.push(async () => note(await this.#children.ensure(queue, volumeClaim, volumeClaims), volumeClaim))
    if (schedules) rest.push(async () => note(await this.#children.ensure(queue, schedules, configMaps), schedules))
    await atOnce(rest, AT_ONCE, (write) => write())
  }

  #scales(queue: TaskQueue, key: ObjectKey): Map<string, PoolScale> {
    const broker = this.#inspector.latest(key)
    const marked = this.#drain.settled(key)
    return new Map(
      (queue.spec.workers ?? []).map((pool) => {
        const now = { live: this.#deploymentOf(queue, pool), pods: poolPods(this.#caches.pods, queue, pool), marked }
        return [pool.name, this.#scaling.scaleOf(queue, pool, now, broker)]
      }),
    )
  }

  /** The pool's own Deployment, if there is one. */
  #deploymentOf(queue: TaskQueue, pool: WorkerPool): LiveDeployment | undefined {
    const live = this.#caches.deployments.get(`${queue.metadata.namespace ?? ''}/${names.deployment(queue, pool)}`)
    return live && isOwn(queue, live) ? live : undefined
  }

  async #drainPods(queue: TaskQueue, key: ObjectKey, scales: ReadonlyMap<string, PoolScale>): Promise<void> {
    const pools = (queue.spec.workers ?? []).map((pool) => ({ pool, deployment: this.#deploymentOf(queue, pool) }))
    this.#inspector.drain(key, await this.#drain.carryOut(queue, pools, scales))
    for (const [pool, { drain }] of scales) {
      const told = drain?.draining.map(({ metadata }) => metadata.name).toSorted() ?? []
      if (told.length > 0)
        this.#tell(queue, 'Draining', `Pool ${pool} shrinks: ${told.join(', ')} take nothing more and go when idle.`)
    }
  }

  #desired(
    queue: TaskQueue,
    key: ObjectKey,
    scales: ReadonlyMap<string, PoolScale>,
    secretsRevision: string | null | undefined,
  ): Desired {
    const schedules = this.#caches.configMaps.get(`${queue.metadata.namespace ?? ''}/${names.schedules(queue)}`)
    const pods = this.#caches.pods.ownedBy(key)
    const proven = pods
      .filter(isReady)
      .flatMap((pod) => pod.spec.containers.filter((c) => c.name === WORKER).map((c) => c.image ?? ''))
    const beatImage = queue.status?.beat?.image
    return desiredOf(queue, {
      ...this.#inputs,
      provenImages: new Set(proven),
      workersWanted: this.#wantsWorkers(queue, scales),
      ...(secretsRevision === undefined ? {} : { secretsRevision }),
      liveRevisions: this.#liveRevisions(queue),
      ...(beatImage === undefined ? {} : { beatImage }),
      ...(schedules ? { schedules } : {}),
    })
  }

  #liveRevisions(queue: TaskQueue): NonNullable<Observed['liveRevisions']> {
    const { namespace = '' } = queue.metadata
    const annotation = annotationKeys.secretsRevision
    const pools = (queue.spec.workers ?? []).flatMap((pool) => {
      const live = this.#caches.deployments.get(`${namespace}/${names.deployment(queue, pool)}`)
      const revision = live?.spec.template.metadata?.annotations?.[annotation]
      return revision === undefined ? [] : [[pool.name, revision] as const]
    })
    const beat = this.#caches.pods.get(`${namespace}/${names.beatPod(queue)}`)?.metadata.annotations?.[annotation]
    return { pools: new Map(pools), ...(beat === undefined ? {} : { beat }) }
  }

  /** By our number, or by that of an HPA, which may be none. */
  #wantsWorkers(queue: TaskQueue, scales: ReadonlyMap<string, PoolScale>): boolean {
    return (queue.spec.workers ?? []).some((pool) => {
      const live = this.#caches.deployments.get(`${queue.metadata.namespace ?? ''}/${names.deployment(queue, pool)}`)
      return (scales.get(pool.name)?.replicas ?? live?.spec.replicas ?? 1) > 0
    })
  }

  async #ensureWorkers(
    queue: TaskQueue,
    key: ObjectKey,
    desired: Desired,
    scales: ReadonlyMap<string, PoolScale>,
    note: (outcome: WriteOutcome, object: KubeObject) => void,
  ): Promise<void> {
    await atOnce(queue.spec.workers ?? [], AT_ONCE, async (pool) => {
      const name = names.deployment(queue, pool)
      const live = this.#deploymentOf(queue, pool)
      const { replicas, why } = scales.get(pool.name) ?? { replicas: undefined, why: '' }
      // Scale first: the template's apply gives up the number only after the scaler has it.
      if (live && replicas !== undefined && live.metadata.deletionTimestamp === undefined) {
        const from = live.spec.replicas
        if ((await this.#children.scale(live, replicas, this.#caches.deployments)) && from !== replicas)
          this.#tell(queue, 'Scaled', `Scaled pool ${pool.name} from ${from ?? 1} to ${replicas} pods: ${why}.`)
      }
      const built = desired.deployments.find((d) => d.metadata.name === name)
      if (!built) return
      const pods = this.#caches.pods.ownedBy(key).filter((pod) => pod.metadata.labels?.[labelKeys.pool] === pool.name)
      const options = { replicas, companionFails: pods.some((pod) => isFailing(pod, [COMPANION])) }
      note(await this.#children.ensureDeployment(queue, built, options, this.#caches.deployments), built)
    })
  }

  /** Objects that an earlier spec called for. Nothing is torn down for a spec that is refused. */
  async #removeOrphans(queue: TaskQueue, key: string, desired: Desired): Promise<void> {
    if (desired.templateProblems.length > 0) return
    const keep = new Set(
      [...desired.deployments, ...desired.supports, desired.schedules, desired.volumeClaim].flatMap((o) =>
        o ? `${o.kind}/${o.metadata.name}` : [],
      ),
    )
    const { deployments, configMaps, volumeClaims, supports } = this.#caches
    const caches = [deployments, configMaps, volumeClaims, ...supports.values()]
    const owned: KubeObject[] = caches.flatMap((cache): KubeObject[] => cache.ownedBy(key))
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
    if (!situation.broker && queue.status?.observedGeneration === queue.metadata.generation) {
      // But for beat's back-off, which is kept nowhere else.
      await this.#status.write(queue, { ...queue.status, beat: { ...queue.status?.beat, ...historyStatus(situation) } })
      return
    }
    const { findings, status } = statusOf(situation)
    // By what is known of before, which is in status until it is written anew.
    this.#patrolEvents.tell(queue, situation.patrol && patrolFindings(situation))
    if (!(await this.#status.write(queue, status))) return
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

/** Of a kind whose API the cluster did not have when this operator began to lead. */
function absentSentence({ kind, apiVersion, metadata }: KubeObject): string {
  return `${kind} ${metadata.name} can not be made: this cluster has no ${apiVersion}. Install what brings it and restart the operator, or leave it out of the spec.`
}
