// Carries out what beatpod.ts decides about the one beat Pod: deletes, creates, relabels. Never beside a Pod that still ends, and
// never for a successor that the API server would refuse.

import { nextBeatAction, type BeatAction, type BeatHistory } from './beatpod.ts'
import { FIELD_MANAGER, refusalSentence, strangerSentence } from './children.ts'
import type { Clock } from './clock.ts'
import type { DesiredPod } from './desired/beat.ts'
import type { Desired } from './desired/index.ts'
import { annotationKeys, names } from './desired/names.ts'
import { schedulesHash } from './desired/schedules.ts'
import { isConflict } from './errors.ts'
import type { Cache } from './kube/cache.ts'
import type { KubeClient } from './kube/client.ts'
import { pods as podResource } from './kube/resources.ts'
import type { LivePod } from './objects.ts'
import type { TaskQueue, TaskQueueStatus } from './taskqueue.ts'

/** Why the beat Pod is not as it should be, when only a person can cure it. */
export interface BeatRefusal {
  reason: 'NameTaken' | 'ApplyRefused'
  message: string
}

export interface BeatOutcome {
  live: LivePod | undefined
  history: BeatHistory
  refusal?: BeatRefusal
  /** When to look again although nothing changes. Milliseconds. */
  againMs?: number
}

/** A Pod that should be gone is looked at again after this, since nothing tells that time passed. */
const TERMINATING_CHECK_MS = 5_000
const REFUSED_RETRY_MS = 30_000

export class BeatControl {
  readonly #client: KubeClient
  readonly #pods: Cache<LivePod>
  readonly #clock: Clock
  readonly #tell: (queue: TaskQueue, reason: string, message: string) => void

  constructor(
    client: KubeClient,
    pods: Cache<LivePod>,
    clock: Clock,
    tell: (queue: TaskQueue, reason: string, message: string) => void,
  ) {
    this.#client = client
    this.#pods = pods
    this.#clock = clock
    this.#tell = tell
  }

  async ensure(queue: TaskQueue, desired: Desired): Promise<BeatOutcome> {
    const { namespace = '' } = queue.metadata
    const live = this.#pods.get(`${namespace}/${names.beatPod(queue)}`)
    const history = historyOf(queue.status)
    // A refused template tears nothing down: what runs goes on, a Pod that is gone waits. To suspend needs no template.
    if (desired.templateProblems.length > 0 && !queue.spec.suspend) return { live, history }
    const action = nextBeatAction({
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
        return refused(undefined, history, { reason: 'NameTaken', message: action.why })
      case 'delete':
        return this.#delete(queue, live, action)
      case 'relabel':
        return { live: await this.#relabel(queue, action), history }
      case 'create':
        return this.#create(queue, action)
    }
  }

  async #delete(
    queue: TaskQueue,
    live: LivePod | undefined,
    action: Extract<BeatAction, { do: 'delete' }>,
  ): Promise<BeatOutcome> {
    const { namespace = '' } = queue.metadata
    const name = names.beatPod(queue)
    const refusal = action.successor && (await this.#refusalOf(action.successor))
    if (refusal !== undefined) {
      const message = `${refusal} The Pod that runs is left as it is.`
      return refused(live, historyOf(queue.status), { reason: 'ApplyRefused', message })
    }
    const ending = await this.#client.delete<LivePod>(podResource, namespace, name, { uid: action.uid })
    // Known at once, or the next look would count its end a second time.
    if (ending) this.#pods.upsert(ending)
    else if (live) this.#pods.remove(live)
    this.#tell(queue, 'BeatDeleted', `Deleted beat Pod ${name}: ${action.why}.`)
    return { live: ending, history: action.history, againMs: TERMINATING_CHECK_MS }
  }

  /** What the API server would say to the Pod; undefined when it would take it. Its own name is still taken, so another is asked for. */
  async #refusalOf(pod: DesiredPod): Promise<string | undefined> {
    try {
      await this.#client.tryCreate({ ...pod, metadata: { ...pod.metadata, name: `${pod.metadata.name}-next` } })
      return undefined
    } catch (error) {
      const said = refusalSentence(pod, error)
      // What is no refusal (a webhook that is down, a time-out) would keep the new Pod from being made just as well.
      if (said === undefined) throw error
      // A quota that has room for one has room again once the old Pod is gone.
      return said.includes('exceeded quota') ? undefined : said
    }
  }

  async #relabel(queue: TaskQueue, action: Extract<BeatAction, { do: 'relabel' }>): Promise<LivePod> {
    const { namespace = '' } = queue.metadata
    const patch = { metadata: { labels: action.labels, annotations: action.annotations } }
    const after = await this.#client.mergePatch<LivePod>(
      podResource,
      namespace,
      names.beatPod(queue),
      patch,
      FIELD_MANAGER,
    )
    this.#pods.upsert(after)
    return after
  }

  async #create(queue: TaskQueue, action: Extract<BeatAction, { do: 'create' }>): Promise<BeatOutcome> {
    const { namespace = '', name } = action.pod.metadata
    const before = historyOf(queue.status)
    try {
      const created = (await this.#client.create(action.pod, FIELD_MANAGER)) as unknown as LivePod
      this.#pods.upsert(created)
      this.#tell(queue, 'BeatCreated', `Created beat Pod ${name}.`)
      return { live: created, history: action.history }
    } catch (error) {
      const other = isConflict(error) ? await this.#client.get<LivePod>(podResource, namespace, name) : undefined
      if (other) return this.#found(queue, other)
      const message = refusalSentence(action.pod, error)
      if (message === undefined) throw error
      return refused(undefined, before, { reason: 'ApplyRefused', message })
    }
  }

  /** The cache knows only what has our label: the name was taken already. */
  #found(queue: TaskQueue, other: LivePod): BeatOutcome {
    const history = historyOf(queue.status)
    const stranger = strangerSentence(queue, other)
    if (stranger !== undefined) return refused(undefined, history, { reason: 'NameTaken', message: stranger })
    this.#pods.upsert(other)
    return { live: other, history }
  }
}

function refused(live: LivePod | undefined, history: BeatHistory, refusal: BeatRefusal): BeatOutcome {
  return { live, history, refusal, againMs: REFUSED_RETRY_MS }
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
