// From a TaskQueue and what was observed to the objects that should exist. Pure: no client, no clock, no I/O.

import type { LiveConfigMap } from '../objects.ts'
import type { TaskQueue } from '../taskqueue.ts'
import { beatPod, type DesiredPod } from './beat.ts'
import { refusals, type OverlayPolicy } from './refusals.ts'
import { checkSchedules, schedulesConfigMap } from './schedules.ts'
import { beatVolumeClaim, type DesiredVolumeClaim } from './volume.ts'
import { workerDeployment, type DesiredDeployment } from './worker.ts'

/** What the operator brings in itself. */
export interface OperatorInputs {
  /** The image of a Declared beat. */
  operatorImage: string
  /** The image of the companion. */
  companionImage: string
  imagePullPolicy?: string
}

/** What the builders must know of what is there. */
export interface Observed extends OperatorInputs, OverlayPolicy {
  /** Images on which a worker pod is or was Ready: a Celery or Command beat moves to no other. */
  provenImages: ReadonlySet<string>
  /** The image of the beat container that runs now. */
  beatImage?: string
  /** The schedules that are out there; kept as they are while the spec's can't be read. */
  schedules?: LiveConfigMap
}

export interface Desired {
  deployments: DesiredDeployment[]
  beat?: DesiredPod
  schedules?: LiveConfigMap
  volumeClaim?: DesiredVolumeClaim
  /** Why a schedule can't be run, one sentence each. The last good set stays in force. */
  scheduleProblems: string[]
  /** Why a podTemplate is refused, one sentence each. While there are any, `deployments` and `beat` are empty and what runs is left alone. */
  templateProblems: string[]
  /** The image that the spec names for beat while beat still waits for a worker to prove it. */
  beatImageWaiting?: string
}

export function desiredOf(queue: TaskQueue, observed: Observed): Desired {
  const workers = queue.spec.workers ?? []
  const beat = queue.spec.beat
  const templateProblems = [
    ...refusals(queue.spec.podTemplate, 'spec.podTemplate', observed),
    ...workers.flatMap((pool) => refusals(pool.podTemplate, `spec.workers["${pool.name}"].podTemplate`, observed)),
    ...refusals(beat?.podTemplate, 'spec.beat.podTemplate', observed),
  ]
  const accepted = templateProblems.length === 0
  const desired: Desired = {
    deployments: accepted ? workers.map((pool) => workerDeployment(queue, pool, observed)) : [],
    scheduleProblems: [],
    templateProblems,
  }
  if (!beat) return desired
  desired.volumeClaim = beatVolumeClaim(queue, beat)
  if (beat.scheduler === 'Declared') {
    const { valid, problems } = checkSchedules(beat)
    desired.scheduleProblems = problems
    const keep = problems.length > 0 && observed.schedules !== undefined
    desired.schedules = schedulesConfigMap(queue, beat, valid)
    if (keep) desired.schedules = { ...desired.schedules, data: observed.schedules?.data ?? {} }
  }
  if (accepted && !queue.spec.suspend) {
    const wanted = beat.image ?? queue.spec.image ?? ''
    const image = beatImage(wanted, workers.length > 0 && beat.image === undefined, observed)
    if (image !== wanted && beat.scheduler !== 'Declared') desired.beatImageWaiting = wanted
    desired.beat = beatPod(queue, beat, image, observed)
  }
  return desired
}

/** A bad image must never cost a healthy beat: it moves only to an image on which a worker ran Ready, when there are workers. */
function beatImage(wanted: string, provable: boolean, observed: Observed): string {
  if (!provable || observed.beatImage === undefined || observed.provenImages.has(wanted)) return wanted
  return observed.beatImage
}
