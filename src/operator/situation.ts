// Everything that a TaskQueue's status is made from: what was wanted, what is there, what was refused. Plain data.

import type { BeatRefusal } from './beatcontrol.ts'
import type { BeatHistory } from './beatpod.ts'
import type { Desired } from './desired/index.ts'
import type { BrokerObservation, PatrolObservation } from './inspect/observation.ts'
import type { LiveDeployment, LivePod } from './objects.ts'
import type { PoolScale } from './scaling.ts'
import type { TaskQueue } from './taskqueue.ts'

/** Everything that status is made from. */
export interface Situation {
  queue: TaskQueue
  desired: Desired
  deployments: ReadonlyMap<string, LiveDeployment>
  /** The Deployments that still replace pods, by name. */
  rolling: ReadonlySet<string>
  /** Pods of the TaskQueue, workers' and beat's. */
  pods: readonly LivePod[]
  beatPod: LivePod | undefined
  beatHistory: BeatHistory
  /** Why beat is not as it should be, when only a person can cure it. */
  beatRefusal?: BeatRefusal
  broker: BrokerObservation | undefined
  /** What patrol has seen; undefined before its second look. */
  patrol: PatrolObservation | undefined
  /** What the API server, or a name that is taken, kept the operator from writing. One sentence each. */
  refused: readonly string[]
  /** How many pods each pool should have, by its name. */
  scales: ReadonlyMap<string, PoolScale>
  /** The chart's `policy.allowDiscipline`. */
  disciplineAllowed: boolean
  now: Date
}
