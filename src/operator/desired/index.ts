// From a TaskQueue and what was observed to the objects that should exist. Pure: no client, no clock, no I/O.

import type { KubeObject, LiveConfigMap } from '../objects.ts'
import type { BeatSpec, TaskQueue } from '../taskqueue.ts'
import { beatPod, type DesiredPod } from './beat.ts'
import type { Observed } from './inputs.ts'
import { refusals, securityRefusals, type BuiltPod } from './refusals.ts'
import { checkSchedules, schedulesConfigMap } from './schedules.ts'
import { supports } from './supports.ts'
import { beatVolumeClaim, type DesiredVolumeClaim } from './volume.ts'
import { workerDeployment, type DesiredDeployment } from './worker.ts'

export interface Desired {
  deployments: DesiredDeployment[]
  beat?: DesiredPod
  schedules?: LiveConfigMap
  volumeClaim?: DesiredVolumeClaim
  /** What stands beside the pods, in the order in which it is written: before them. */
  supports: KubeObject[]
  /** Why a schedule can't be run, one sentence each. The last good set stays in force. */
  scheduleProblems: string[]
  /** Why a podTemplate is refused, one sentence each. While there are any, `deployments` and `beat` are empty and what runs is left alone. */
  templateProblems: string[]
  /** The image that the spec names for beat while beat still waits for a worker to prove it. */
  beatImageWaiting?: string
}

export function desiredOf(queue: TaskQueue, observed: Observed): Desired {
  const beat = queue.spec.beat
  const overlayProblems = overlayRefusals(queue, observed)
  const built = overlayProblems.length === 0 ? desiredPods(queue, observed) : { deployments: [] }
  const templateProblems = overlayProblems.length === 0 ? podRefusals(built, observed) : overlayProblems
  return {
    scheduleProblems: [],
    supports: supports(queue),
    ...(beat ? desiredSchedules(queue, beat, observed) : {}),
    ...(beat ? { volumeClaim: beatVolumeClaim(queue, beat) } : {}),
    ...(templateProblems.length === 0 ? built : { deployments: [] }),
    templateProblems,
  }
}

function overlayRefusals(queue: TaskQueue, observed: Observed): string[] {
  const { workers = [], beat, podTemplate } = queue.spec
  return [
    ...refusals(podTemplate, 'spec.podTemplate', observed),
    ...workers.flatMap((pool) => refusals(pool.podTemplate, `spec.workers["${pool.name}"].podTemplate`, observed)),
    ...refusals(beat?.podTemplate, 'spec.beat.podTemplate', observed),
  ]
}

type DesiredPods = Pick<Desired, 'deployments' | 'beat' | 'beatImageWaiting'>

function desiredPods(queue: TaskQueue, observed: Observed): DesiredPods {
  const { workers = [], beat, suspend } = queue.spec
  return {
    deployments: workers.map((pool) =>
      workerDeployment(queue, pool, observed, revisionOf(observed, observed.liveRevisions?.pools.get(pool.name))),
    ),
    ...(beat && !suspend ? desiredBeat(queue, beat, observed) : {}),
  }
}

function podRefusals({ deployments, beat }: DesiredPods, observed: Observed): string[] {
  const pods: BuiltPod[] = deployments.map(({ metadata, spec: { template } }) => {
    return { name: metadata.name, annotations: template.metadata?.annotations ?? {}, spec: template.spec }
  })
  if (beat) pods.push({ name: beat.metadata.name, annotations: beat.metadata.annotations ?? {}, spec: beat.spec })
  return securityRefusals(pods, observed)
}

/** Schedules that can't all be read leave the ones that are out there in force. */
function desiredSchedules(queue: TaskQueue, beat: BeatSpec, observed: Observed): Partial<Desired> {
  if (beat.scheduler !== 'Declared') return {}
  const checked = checkSchedules(beat)
  const built = schedulesConfigMap(queue, checked)
  const kept = checked.problems.length > 0 ? observed.schedules?.data : undefined
  return { schedules: kept ? { ...built, data: kept } : built, scheduleProblems: [...checked.problems] }
}

function desiredBeat(queue: TaskQueue, beat: BeatSpec, observed: Observed): Omit<DesiredPods, 'deployments'> {
  const wanted = beat.image ?? queue.spec.image ?? ''
  const provable = observed.workersWanted && beat.image === undefined
  const image = provenImage(wanted, provable, observed)
  const waits = image !== wanted && beat.scheduler !== 'Declared'
  const revision = revisionOf(observed, observed.liveRevisions?.beat)
  return { beat: beatPod(queue, beat, image, observed, revision), ...(waits ? { beatImageWaiting: wanted } : {}) }
}

/** @param live what the pods were started with */
function revisionOf({ secretsRevision }: Observed, live: string | undefined): string | undefined {
  return secretsRevision === undefined ? live : (secretsRevision ?? undefined)
}

/**
 * A bad image must never cost a healthy beat: it moves only to an image on which a worker ran Ready, when there are workers, and
 * keeps its last one also when the Pod itself is gone.
 */
function provenImage(wanted: string, provable: boolean, observed: Observed): string {
  if (!provable || observed.beatImage === undefined || observed.provenImages.has(wanted)) return wanted
  return observed.beatImage
}
