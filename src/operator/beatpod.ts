// What to do next about the one beat Pod. The rule: its fixed name is a mutex, so delete, wait until it is gone, then create;
// never force-delete. Pure: reconcile.ts carries the decision out.

import { annotationKeys } from './desired/names.ts'
import type { DesiredPod } from './desired/beat.ts'
import { controllerOf, type KubeObject, type LivePod } from './objects.ts'
import { isFailing } from './podtrouble.ts'

export interface BeatHistory {
  /** How often in a row the Pod was made anew without staying up. */
  restarts: number
  /** Not to be made anew before this time. */
  notBefore?: Date
  lastCreated?: Date
}

export type BeatAction =
  | { do: 'nothing' }
  | { do: 'create'; pod: DesiredPod; history: BeatHistory }
  /**
   * `history` carries the back-off when the Pod had ended by itself. `successor` is what should follow a Pod that is well: what the
   * API server would refuse must not cost it.
   */
  | { do: 'delete'; uid: string; why: string; history: BeatHistory; successor?: DesiredPod }
  /** Labels or annotations differ, which can be put right in place. */
  | { do: 'relabel'; labels: Record<string, string>; annotations: Record<string, string> }
  /** For the old Pod to be gone, or, with `forMs`, for the back-off to end. */
  | { do: 'wait'; forMs?: number }
  | { do: 'refuse'; why: string }

const FIRST_BACKOFF_MS = 1_000
const MAX_BACKOFF_MS = 300_000
/** A Pod that lived for so long was well: the next end of it starts the back-off from the beginning. */
const STABLE_MS = 600_000

export interface BeatSituation {
  queueUid: string
  /** Undefined when there should be none. */
  desired: DesiredPod | undefined
  live: LivePod | undefined
  history: BeatHistory
  now: Date
}

export function nextBeatAction(situation: BeatSituation): BeatAction {
  return situation.live ? actionOn(situation.live, situation) : actionWithout(situation)
}

function actionWithout({ desired, history, now }: BeatSituation): BeatAction {
  if (!desired) return { do: 'nothing' }
  const wait = (history.notBefore?.getTime() ?? 0) - now.getTime()
  if (wait > 0) return { do: 'wait', forMs: wait }
  return { do: 'create', pod: desired, history: { restarts: history.restarts, lastCreated: now } }
}

function actionOn(live: LivePod, { queueUid, desired, history, now }: BeatSituation): BeatAction {
  if (live.metadata.deletionTimestamp !== undefined) return { do: 'wait' }
  if (controllerOf(live, 'TaskQueue')?.uid !== queueUid) {
    const why = `a Pod named ${live.metadata.name} exists that is not this TaskQueue's: delete or rename it`
    return { do: 'refuse', why }
  }
  const remove = (why: string, after: BeatHistory): Extract<BeatAction, { do: 'delete' }> => ({
    do: 'delete',
    uid: live.metadata.uid ?? '',
    why,
    history: after,
  })
  if (!desired) return remove('no beat is wanted', { restarts: 0 })
  const { phase, reason } = live.status ?? {}
  if (phase === 'Succeeded' || phase === 'Failed')
    return remove(`it ended (${reason ?? phase})`, backedOff(history, now))
  if (specHash(live) !== specHash(desired)) {
    return { ...remove('its spec changed', { restarts: 0 }), successor: desired }
  }
  const image = failingImage(desired, live)
  if (image !== undefined) return remove(`it fails with the old image ${image}`, backedOff(history, now))
  return relabelled(desired, live) ?? { do: 'nothing' }
}

function specHash(pod: KubeObject): string | undefined {
  return pod.metadata.annotations?.[annotationKeys.specHash]
}

/** The image of a container that fails while the operator by now has another one for it, such as after its own upgrade. */
function failingImage(desired: DesiredPod, live: LivePod): string | undefined {
  const wanted = [...(desired.spec.initContainers ?? []), ...desired.spec.containers]
  const running = [...(live.spec.initContainers ?? []), ...live.spec.containers]
  return running.find(({ name, image }) => {
    const other = wanted.find((container) => container.name === name)
    return other !== undefined && other.image !== image && isFailing(live, [name])
  })?.image
}

function backedOff(history: BeatHistory, now: Date): BeatHistory {
  const lived = history.lastCreated ? now.getTime() - history.lastCreated.getTime() : STABLE_MS
  const restarts = lived >= STABLE_MS ? 1 : history.restarts + 1
  const delay = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(restarts - 1, 20))
  return { restarts, notBefore: new Date(now.getTime() + delay) }
}

function relabelled(desired: DesiredPod, live: LivePod): BeatAction | undefined {
  const labels = differing(desired.metadata.labels, live.metadata.labels)
  const annotations = differing(desired.metadata.annotations, live.metadata.annotations)
  if (Object.keys(labels).length + Object.keys(annotations).length === 0) return undefined
  return { do: 'relabel', labels, annotations }
}

function differing(desired: Record<string, string> = {}, live: Record<string, string> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(desired).filter(([key, value]) => live[key] !== value))
}
