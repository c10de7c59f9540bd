// What a person should know of workers that are all there: tasks beyond their time, and tasks that may be delivered twice. Pure. It costs
// nobody the condition; what is missing is in workerstatus.ts.

import { ended, type Finding } from './conditions.ts'
import { GRACE_MARGIN_SECONDS } from './desired/worker.ts'
import type { Situation } from './situation.ts'
import type { Skew } from './skew.ts'
import type { TaskQueue } from './taskqueue.ts'

interface Remark {
  readonly reason: string
  readonly message: string
}

/** Of each pod so many stuck tasks are told. */
const MOST_TASKS = 3

/** The finding about workers, with the remarks beside what it says. */
export function withRemarks(workers: Finding, situation: Situation, skew: Skew): Finding {
  const remarks = [stuckTasks(situation), visibility(situation.queue, skew)].filter((remark) => remark !== undefined)
  const [first] = remarks
  if (!first) return workers
  const message = [ended(workers.message), ...remarks.map((remark) => remark.message)].join(' ')
  return { ...workers, message, ...(workers.reason === 'AllReady' ? { reason: first.reason } : {}) }
}

/** Tasks of Celery workers beyond maxTaskSeconds, as companions tell. For how long is left out: it would be another status each time. */
function stuckTasks({ broker, pods }: Situation): Remark | undefined {
  const podNames = new Map(pods.map((pod) => [pod.metadata.uid, pod.metadata.name]))
  const told = (broker?.reachable ? broker.presence : []).flatMap(({ podUid, detail }) => {
    const pod = podNames.get(podUid)
    const tasks = tasksIn(detail.stuck)
    return pod === undefined || tasks.length === 0 ? [] : [{ pod, tasks }]
  })
  if (told.length === 0) return undefined
  const list = told
    .toSorted((a, b) => a.pod.localeCompare(b.pod))
    .map(({ pod, tasks }) => `${tasks.slice(0, MOST_TASKS).join(', ')} in pod ${pod}`)
  return {
    reason: 'TasksBeyondTheirTime',
    message: `Beyond maxTaskSeconds run ${list.join('; ')}. Give the task a time limit of its own, or raise maxTaskSeconds.`,
  }
}

/** A pod may say anything: what is no list of tasks is none. */
function tasksIn(told: unknown): string[] {
  if (!Array.isArray(told)) return []
  const names = told.flatMap((each: unknown) => {
    if (typeof each !== 'object' || each === null) return []
    const { task, id } = each as Record<string, unknown>
    return typeof task === 'string' && typeof id === 'string' ? [`${task.slice(0, 100)} (${id.slice(0, 50)})`] : []
  })
  return names.toSorted()
}

/**
 * Of Celery, while the longest task, the time to end it and the clocks' skew together reach the visibility timeout. Node's workers renew
 * what they hold, however long it takes.
 */
function visibility({ spec }: TaskQueue, { broker }: Skew): Remark | undefined {
  if (spec.engine !== 'Celery') return undefined
  const [longest] = (spec.workers ?? []).toSorted((a, b) => b.maxTaskSeconds - a.maxTaskSeconds)
  if (!longest) return undefined
  // kombu scores what it holds by its own host's clock, and every other worker judges it by theirs.
  const apart = Math.abs(broker?.seconds ?? 0)
  // Below that the clocks agree, and a figure that moves by itself would be another status each time.
  const skew = apart < 0.25 ? 0 : Math.ceil(apart)
  const needed = longest.maxTaskSeconds + GRACE_MARGIN_SECONDS + skew
  const timeout = spec.broker.visibilityTimeoutSeconds
  if (needed < timeout) return undefined
  const parts = `${longest.maxTaskSeconds}s of pool ${longest.name}'s longest task, ${GRACE_MARGIN_SECONDS}s to end it and ${skew}s of skew`
  return {
    reason: 'VisibilityTimeoutShort',
    message: `A task may be delivered twice: ${parts} reach the visibility timeout of ${timeout}s. Set spec.broker.visibilityTimeoutSeconds, and the app's own broker_transport_options, above ${needed}s.`,
  }
}
