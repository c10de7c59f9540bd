// Binds watches, caches, workqueue and reconciler together for as long as we lead. Nothing is decided here.

import type { Logger } from '@taskqueue/runtime/log'
import type { Clock } from './clock.ts'
import { labelKeys, managedSelector } from './desired/names.ts'
import { messageOf } from './errors.ts'
import { EventRecorder } from './events.ts'
import { BrokerInspector, type InspectorOptions } from './inspect/inspector.ts'
import { Cache } from './kube/cache.ts'
import { hmacKey } from './kube/hmackey.ts'
import { SecretValues } from './kube/secretvalues.ts'
import type { KubeClient } from './kube/client.ts'
import {
  configMaps,
  deployments,
  pathOf,
  podMonitors,
  pods,
  supportKinds,
  taskQueues,
  volumeClaims,
  events,
  type Resource,
} from './kube/resources.ts'
import { Watch } from './kube/watch.ts'
import { Workqueue } from './kube/workqueue.ts'
import type { OperatorMetrics } from './metrics.ts'
import { PatrolMetrics } from './patrolmetrics.ts'
import type { DesiredVolumeClaim } from './desired/volume.ts'
import {
  controllerOf,
  keyOf,
  type KubeObject,
  type LiveConfigMap,
  type LiveDeployment,
  type LivePod,
} from './objects.ts'
import { defaulted } from './defaulted.ts'
import { specDefaults } from './defaults.ts'
import { keptChild, keptPod, keptQueue } from './kept.ts'
import { Reconciler, type Caches } from './reconcile.ts'
import { registerTaskQueueMetrics } from './taskqueuemetrics.ts'
import { secretReferences, secretsRevision } from './secretsrevision.ts'
import type { Settings } from './settings.ts'
import type { TaskQueue, TaskQueueSpec } from './taskqueue.ts'

export interface ControllerDeps {
  readonly client: KubeClient
  readonly settings: Settings
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: OperatorMetrics
  /** How often brokers are looked at, where that is not as usual. */
  readonly inspection?: Partial<InspectorOptions>
}

/** What it has to know of the cluster before it begins. */
interface ClusterFacts {
  /** Of the revisions that pods carry of their Secrets. */
  readonly hmacKey: Buffer
  /** The kinds beside the pods that this cluster has. */
  readonly kinds: readonly Resource[]
}

export class Controller {
  readonly #client: KubeClient
  readonly #settings: Settings
  readonly #clock: Clock
  readonly #log: Logger
  readonly #metrics: OperatorMetrics
  readonly #caches: Caches
  readonly #kinds: readonly Resource[]
  readonly #inspector: BrokerInspector
  readonly #queue: Workqueue
  #synced = false

  /** Asks the cluster for what must be known first. @throws ApiError */
  static async open(deps: ControllerDeps): Promise<Controller> {
    const { client, settings } = deps
    const key = await hmacKey(client, settings.leaseNamespace)
    const kinds = [...supportKinds, ...((await client.has(podMonitors)) ? [podMonitors] : [])]
    return new Controller(deps, { hmacKey: key, kinds })
  }

  private constructor(
    { client, settings, clock, log, metrics, inspection }: ControllerDeps,
    { hmacKey: key, kinds }: ClusterFacts,
  ) {
    this.#client = client
    this.#settings = settings
    this.#clock = clock
    this.#log = log
    this.#metrics = metrics
    const enqueue = (key: string): void => {
      if (this.#synced) this.#queue.add(key)
    }
    this.#caches = {
      taskQueues: new Cache<TaskQueue>(keyOf, enqueue, withDefaults(log)),
      deployments: new Cache<LiveDeployment>(ownerKey, enqueue, keptChild),
      pods: new Cache<LivePod>(ownerKey, enqueue, keptPod),
      configMaps: new Cache<LiveConfigMap>(ownerKey, enqueue, keptChild),
      volumeClaims: new Cache<DesiredVolumeClaim>(ownerKey, enqueue, keptChild),
      supports: new Map(kinds.map(({ kind }) => [kind, new Cache<KubeObject>(ownerKey, enqueue, keptChild)])),
    }
    this.#kinds = kinds
    const values = new SecretValues(client, clock)
    this.#inspector = new BrokerInspector(
      (namespace, name, key, options) => values.read({ namespace, name, key }, options),
      enqueue,
      clock,
      inspection,
    )
    const recorder = new EventRecorder(
      async (event) => {
        await client.json('POST', pathOf(events, event.metadata.namespace), { body: event })
      },
      clock,
      settings.identity,
      (error) => log.warn({ error }, 'An Event could not be written'),
    )
    const { image, imagePullPolicy, allowPrivilegedPods, allowDiscipline } = settings
    const inputs = {
      operatorImage: image,
      companionImage: image,
      allowPrivilegedPods,
      allowDiscipline,
      ...(imagePullPolicy === undefined ? {} : { imagePullPolicy }),
    }
    const reconciler = new Reconciler(
      client,
      this.#caches,
      this.#inspector,
      recorder,
      clock,
      inputs,
      (queue) => revisionOf(queue, values, key),
      new PatrolMetrics(metrics.registry, () => this.#inspector.patrolFigures()),
    )
    registerTaskQueueMetrics(metrics.registry, {
      taskQueues: () => this.#caches.taskQueues.all(),
      latest: (key) => this.#inspector.latest(key),
    })
    this.#queue = new Workqueue(
      { concurrency: settings.concurrency },
      async (key) => {
        const end = metrics.reconcileSeconds.startTimer()
        const outcome = await reconciler.reconcile(key)
        end()
        metrics.reconciles.inc({ outcome: 'done' })
        if (!this.#caches.taskQueues.get(key)) this.#queue.forget(key)
        return outcome
      },
      (key, error, retryInMs) => {
        metrics.reconciles.inc({ outcome: 'failed' })
        const [namespace, taskqueue] = key.split('/')
        log.error(
          { error, namespace, taskqueue, retryInSeconds: retryInMs / 1000 },
          `Reconcile failed: ${messageOf(error)}`,
        )
      },
      clock,
    )
  }

  /** Keys that wait to be reconciled. */
  get depth(): number {
    return this.#queue.depth
  }

  /** Whether every cache has seen a whole list. */
  get synced(): boolean {
    return this.#synced
  }

  /** Watches and reconciles until the signal aborts; resolves when what was under way is done. */
  async run(signal: AbortSignal): Promise<void> {
    const { namespaces } = this.#settings
    const watches = (namespaces.length === 0 ? [''] : namespaces).flatMap((namespace) => [
      this.#watch(taskQueues, this.#caches.taskQueues, namespace),
      this.#watch(deployments, this.#caches.deployments, namespace, managedSelector),
      this.#watch(pods, this.#caches.pods, namespace, managedSelector),
      this.#watch(configMaps, this.#caches.configMaps, namespace, managedSelector),
      this.#watch(volumeClaims, this.#caches.volumeClaims, namespace, managedSelector),
      ...this.#kinds.flatMap((kind) => {
        const cache = this.#caches.supports.get(kind.kind)
        return cache ? [this.#watch(kind, cache, namespace, managedSelector)] : []
      }),
    ])
    const running = watches.map((watch) => watch.run(signal))
    void Promise.all(watches.map((watch) => watch.synced)).then(() => {
      // Nothing is reconciled on half of the truth: the first look at each TaskQueue comes after the last list.
      this.#synced = true
      for (const queue of this.#caches.taskQueues.all()) this.#queue.add(keyOf(queue))
      this.#log.info({ count: this.#caches.taskQueues.size }, 'Caches are in sync')
    })
    await Promise.all(running)
    this.#inspector.close()
    await this.#queue.stop()
  }

  #watch<T extends KubeObject>(
    resource: Resource,
    cache: Cache<T>,
    namespace: string,
    labelSelector?: string,
  ): Watch<T> {
    const target = { resource, namespace, ...(labelSelector === undefined ? {} : { labelSelector }) }
    return new Watch(this.#client, target, cache, this.#clock, (message) => {
      this.#metrics.watchTroubles.inc()
      this.#log.warn(`A list or watch failed and is tried again: ${message}`)
    })
  }
}

/** What the caches keep of a TaskQueue. That the CRD is of an older release is told once a field, since values of new fields are lost with it. */
function withDefaults(log: Logger): (queue: TaskQueue) => TaskQueue {
  const told = new Set<string>()
  const tell = (field: string): void => {
    if (told.has(field)) return
    told.add(field)
    log.warn(
      { field },
      `The CRD of TaskQueue has no default for ${field}: it is of an older release, which drops what is set there. The default of this release is taken; apply its CRD (helm upgrade with crds.install, or crds/taskqueues.taskqueue.dev.yaml).`,
    )
  }
  return (queue) => {
    const kept = keptQueue(queue)
    const spec = defaulted(kept.spec, specDefaults, 'spec', tell) as TaskQueueSpec
    return spec === kept.spec ? kept : { ...kept, spec }
  }
}

/** The key of the TaskQueue that an object belongs to: by its controller, or by label for a volume that outlives its owner and
 * for a Pod of a Deployment, whose controller is a ReplicaSet. */
function ownerKey(object: KubeObject): string | undefined {
  const name = controllerOf(object, 'TaskQueue')?.name ?? object.metadata.labels?.[labelKeys.taskQueue]
  return name === undefined ? undefined : `${object.metadata.namespace ?? ''}/${name}`
}

/** See RevisionOfSecrets. What can't be read is not known, whatever the reason: the inspector says it. */
async function revisionOf(queue: TaskQueue, values: SecretValues, key: Buffer): Promise<string | null | undefined> {
  const { namespace = '' } = queue.metadata
  const references = secretReferences(queue)
  if (references.length === 0) return null
  const read = await Promise.all(
    references.map(async ({ field, ...reference }) => {
      const value = await values.read({ namespace, ...reference }).catch(() => undefined)
      return [field, value] as const
    }),
  )
  const known = read.flatMap(([field, value]) => (value === undefined ? [] : [[field, value] as const]))
  return known.length === read.length ? secretsRevision(key, known) : undefined
}
