// What status says of beat and its schedules: BeatReady, SchedulesOnTime, the BEAT column. Pure.

import { sentences, type Finding } from './conditions.ts'
import { BEAT } from './desired/beat.ts'
import { names } from './desired/names.ts'
import { schedulesHash, shortHash } from './desired/schedules.ts'
import { timestamp, type LivePod } from './objects.ts'
import { scheduleFindings, sentenceOf } from './patrolfinding.ts'
import { hasEnded, isReady, isSilent, podTrouble } from './podtrouble.ts'
import { tickPeriod } from './inspect/observation.ts'
import type { Situation } from './situation.ts'
import type { TaskQueueStatus } from './taskqueue.ts'
import { unknownTasks } from './unknowntasks.ts'

export function schedulesFinding(situation: Situation): Finding {
  const type = 'SchedulesOnTime'
  const { desired } = situation
  if (desired.scheduleProblems.length > 0) {
    const message = `${sentences(desired.scheduleProblems)} Until this is put right, beat keeps the last good schedules.`
    return { type, status: 'False', reason: 'ScheduleInvalid', message }
  }
  const said = beatDetail(situation)
  if (typeof said?.schedulesProblem === 'string') {
    const message = `Beat keeps its last good schedules: ${said.schedulesProblem}.`
    return { type, status: 'False', reason: 'BeatRefusedSchedules', message }
  }
  const failing = failures(said?.failing)
  if (failing.length > 0) return { type, status: 'False', reason: 'ScheduleFailing', message: sentences(failing) }
  if (typeof said?.scheduleFileProblem === 'string')
    return {
      type,
      status: 'False',
      reason: 'ScheduleFileUnwritable',
      message: `Beat goes on without its volume: ${said.scheduleFileProblem}.`,
    }
  const unknown = unknownTasks(situation)
  if (unknown.length > 0) return { type, status: 'False', reason: 'TaskUnknown', message: unknown.join(' ') }
  const [first, ...others] = scheduleFindings(situation)
  if (first)
    return { type, status: 'False', reason: first.code, message: sentences([first, ...others].map(sentenceOf)) }
  if (!said)
    return {
      type,
      status: 'True',
      reason: 'Valid',
      message: 'The schedules can be read; beat has not said that it loaded them.',
    }
  return loadedHash(situation) === schedulesHash(desired.schedules)
    ? { type, status: 'True', reason: 'Loaded', message: 'Beat has loaded the schedules.' }
    : { type, status: 'True', reason: 'Loading', message: 'Beat loads the changed schedules within seconds.' }
}

/** What beat says of schedules that it can't fire, a sentence each. */
function failures(value: unknown): string[] {
  const problems = typeof value === 'object' && value !== null ? Object.entries(value) : []
  return problems.map(([name, problem]) => `Schedule ${name} can not be fired: ${String(problem)}.`)
}

/** What the beat Pod says of itself in its presence; undefined while it says nothing. */
function beatDetail({ broker, beatPod }: Situation): Readonly<Record<string, unknown>> | undefined {
  if (!broker?.reachable || !beatPod) return undefined
  return broker.presence.find((entry) => entry.kind === 'beat' && entry.podUid === beatPod.metadata.uid)?.detail
}

/** The hash of the schedules that beat has loaded, as short as ours. */
export function loadedHash(situation: Situation): string | undefined {
  const hash = beatDetail(situation)?.schedulesHash
  return typeof hash === 'string' && hash !== '' ? shortHash(hash) : undefined
}

type BeatTimes = Pick<
  NonNullable<TaskQueueStatus['beat']>,
  'leaseHolder' | 'lastTickTime' | 'lastRunTime' | 'nextRunTime'
>

/**
 * Who fires, and when it last did and next will. The times are told anew every ten minutes only: were they exact, a beat that runs would
 * cost a write a second.
 */
export function beatTimes(situation: Situation): BeatTimes {
  const before = situation.queue.status?.beat ?? {}
  const said = beatDetail(situation)
  if (!said) return timesKept(before, before.leaseHolder)
  const { leaseHolder, lastTickAt, lastFiredAt, nextRunAt } = said
  const period = tickPeriod(lastTickAt)
  const told = before.lastTickTime === undefined ? undefined : tickPeriod(Date.parse(before.lastTickTime))
  if (period === undefined || period === told) return timesKept(before, leaseHolder)
  const times = { lastTickTime: timeOf(lastTickAt), lastRunTime: timeOf(lastFiredAt), nextRunTime: timeOf(nextRunAt) }
  return timesKept(times, leaseHolder)
}

/** Without what is not known. */
function timesKept(
  { lastTickTime, lastRunTime, nextRunTime }: { [Name in keyof BeatTimes]: BeatTimes[Name] | undefined },
  leaseHolder: unknown,
): BeatTimes {
  const all = Object.entries({ leaseHolder, lastTickTime, lastRunTime, nextRunTime })
  return Object.fromEntries(all.filter(([, value]) => typeof value === 'string'))
}

function timeOf(instant: unknown): string | undefined {
  return typeof instant === 'number' && Math.abs(instant) <= 8.64e15 ? timestamp(new Date(instant)) : undefined
}

export function beatFinding(situation: Situation): Finding {
  const { queue, beatPod } = situation
  const name = names.beatPod(queue)
  if (queue.spec.suspend) {
    return beatPod
      ? ready('Stopping', `Pod ${name} is being stopped, since spec.suspend is true; its volume stays.`)
      : ready('Suspended', 'Beat is stopped while the TaskQueue is suspended; its volume stays.')
  }
  if (!beatPod) return missing(situation, name)
  if (beatPod.metadata.deletionTimestamp !== undefined) return terminating(situation, beatPod)
  if (isReady(beatPod)) return running(situation, name)
  const held = beatDetail(situation)?.held
  if (typeof held === 'string')
    return unready('ClockSkewed', `Beat holds its fire (clockSync.onSkew: HoldBeat): ${held}.`)
  if (isSilent(beatPod)) return unreachable(situation, beatPod, 'has not been heard of by its node')
  const trouble = podTrouble(beatPod)
  return trouble ? unready(trouble.reason, trouble.message) : unready('Starting', `Pod ${name} is not ready yet.`)
}

function ready(reason: string, message: string): Finding {
  return { type: 'BeatReady', status: 'True', reason, message }
}

function unready(reason: string, message: string): Finding {
  return { type: 'BeatReady', status: 'False', reason, message }
}

function missing({ beatRefusal, beatHistory, now }: Situation, name: string): Finding {
  if (beatRefusal) return unready(beatRefusal.reason, beatRefusal.message)
  const { notBefore, restarts } = beatHistory
  return notBefore && notBefore > now
    ? unready('BackOff', `Pod ${name} ended ${restarts} times in a row and is made anew at ${timestamp(notBefore)}.`)
    : unready('Creating', `Pod ${name} is being made.`)
}

function running({ desired, beatRefusal }: Situation, name: string): Finding {
  if (beatRefusal) return ready('ChangeRefused', beatRefusal.message)
  const waiting = desired.beatImageWaiting
  return waiting === undefined
    ? ready('Running', `Pod ${name} is ready.`)
    : ready(
        'ImageNotProven',
        `Pod ${name} is ready on its old image; it takes ${waiting} once a worker pod ran Ready on it.`,
      )
}

function terminating(situation: Situation, pod: LivePod): Finding {
  const since = new Date(pod.metadata.deletionTimestamp ?? situation.now)
  const overdueMs = situation.now.getTime() - since.getTime()
  if (overdueMs <= 15_000) {
    return unready('Terminating', `The old Pod ${pod.metadata.name} is ending; the new one follows.`)
  }
  const { finalizers = [] } = pod.metadata
  if (finalizers.length > 0 && hasEnded(pod)) {
    return unready(
      'HeldByFinalizer',
      `Pod ${pod.metadata.name} has ended and is kept by its finalizers ${finalizers.join(', ')}: whoever set them must take them away. ` +
        'A second beat is never started beside it.',
    )
  }
  return unreachable(situation, pod, `should have been gone by ${timestamp(since)} and is not`)
}

function unreachable({ queue }: Situation, pod: LivePod, what: string): Finding {
  const node = pod.spec.nodeName ?? 'its node'
  const fenced =
    queue.spec.beat?.scheduler === 'Declared'
      ? ''
      : ' Only scheduler: Declared is fenced: be sure that the old one is dead.'
  return unready(
    'NodeUnreachable',
    `Pod ${pod.metadata.name} ${what}: node ${node} may be unreachable. A second beat is never started beside it. ` +
      `If the node is really down, taint it with node.kubernetes.io/out-of-service=nodeshutdown:NoExecute and Kubernetes removes the Pod.${fenced}`,
  )
}

/** The image of a Celery or Command beat that is wanted now, or was last: what it goes on with while another is not proven. */
export function beatImage({ queue, desired }: Situation): string | undefined {
  if (!queue.spec.beat || queue.spec.beat.scheduler === 'Declared') return undefined
  const built = desired.beat?.spec.containers.find((container) => container.name === BEAT)?.image
  return built ?? queue.status?.beat?.image
}

/** The word in the BEAT column. */
export function beatState(situation: Situation): string {
  const { queue, beatPod, beatRefusal } = situation
  if (!queue.spec.beat) return 'None'
  if (beatRefusal && !beatPod) return 'NotReady'
  if (!beatPod) return queue.spec.suspend ? 'Suspended' : 'Pending'
  if (beatPod.metadata.deletionTimestamp !== undefined) return 'Terminating'
  if (isReady(beatPod)) return 'Ready'
  if (typeof beatDetail(situation)?.held === 'string') return 'Held'
  return beatPod.status?.phase === 'Pending' ? 'Pending' : 'NotReady'
}
