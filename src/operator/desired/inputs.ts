// What the builders are given besides the TaskQueue: what the operator brings in, what the platform allows, what is there. Plain data.

import type { LiveConfigMap } from '../objects.ts'

/** What the operator brings in itself. */
export interface OperatorInputs {
  /** The image of a Declared beat. */
  operatorImage: string
  /** The image of the companion. */
  companionImage: string
  imagePullPolicy?: string
  /** The chart's `policy.allowDiscipline`: a chronyd runs on each node. */
  allowDiscipline: boolean
}

/** What a podTemplate may ask for. */
export interface OverlayPolicy {
  /** The chart's `policy.allowPrivilegedPods`. */
  allowPrivilegedPods: boolean
}

/** What the builders must know of what is there. */
export interface Observed extends OperatorInputs, OverlayPolicy {
  /**
   * The revision of the Secrets that pods read; undefined while they can't be read. Then each pod keeps what it was started with,
   * since nothing is replaced for what is not known. Null when they read none.
   */
  secretsRevision?: string | null
  /** What the pods that are there were started with: pools' by their name, beat's. */
  liveRevisions?: { readonly pools: ReadonlyMap<string, string>; readonly beat?: string }
  /** Images on which a worker pod is or was Ready: a Celery or Command beat moves to no other. */
  provenImages: ReadonlySet<string>
  /** Whether any worker pod is wanted: without one, no image can be proven. */
  workersWanted: boolean
  /** The image that a Celery or Command beat was last given (status.beat.image). */
  beatImage?: string
  /** The schedules that are out there; kept as they are while the spec's can't be read. */
  schedules?: LiveConfigMap
}
