// What patrol has seen of a TaskQueue, as status tells it: which findings belong to a condition, and the list. Pure. What could not be
// asked is none of the findings of before.

import type { FindingCode, Severity } from '@taskqueue/runtime/patrol'
import { clipped } from './conditions.ts'
import { timestamp } from './objects.ts'
import type { Situation } from './situation.ts'
import type { TaskQueueStatus } from './taskqueue.ts'

/** One finding, as it is in status. */
export type ToldFinding = NonNullable<NonNullable<TaskQueueStatus['patrol']>['findings']>[number]

/** More are counted, not listed. */
const MOST_FINDINGS = 20
/** Of one finding: a queue may have hundreds of workers. */
const MOST_CHARACTERS = 1_000

const OF_QUEUES: readonly FindingCode[] = ['ConsumerStalled', 'QueueWithoutConsumer']
const OF_SCHEDULES: readonly FindingCode[] = ['TwoBeats', 'ScheduleMissing', 'ScheduleOverdue', 'ScheduleNotRun']
/** What nobody misses while the TaskQueue is suspended. */
const ASKED_FOR: ReadonlySet<string> = new Set([...OF_QUEUES, ...OF_SCHEDULES, 'ConsumerIdle'])

const conditional: ReadonlySet<string> = new Set([...OF_QUEUES, ...OF_SCHEDULES])

/** Whether a condition tells it, so that no Event of its own has to. */
export function isInCondition({ code }: Pick<ToldFinding, 'code'>): boolean {
  return conditional.has(code)
}

/** Whether the reason of a condition is a finding of patrol. */
export function isPatrolReason(reason: string): boolean {
  return conditional.has(reason)
}

type Seen = Pick<Situation, 'queue' | 'patrol' | 'broker'>

/** What is found now; undefined while that is not known. After a start what status says stands until patrol has looked twice. */
export function patrolFindings({ queue, patrol, broker }: Seen): ToldFinding[] | undefined {
  if (broker && !broker.reachable) return undefined
  const findings = patrol
    ? patrol.known
      ? patrol.findings.map(({ code, severity, subject, saw, todo }) => told(code, severity, subject, `${saw} ${todo}`))
      : undefined
    : queue.status?.patrol?.findings
  return findings?.filter(({ code }) => !queue.spec.suspend || !ASKED_FOR.has(code))
}

export function queueFindings(seen: Seen): ToldFinding[] {
  return (patrolFindings(seen) ?? []).filter(({ code }) => (OF_QUEUES as readonly string[]).includes(code))
}

export function scheduleFindings(seen: Seen): ToldFinding[] {
  return (patrolFindings(seen) ?? []).filter(({ code }) => (OF_SCHEDULES as readonly string[]).includes(code))
}

/** What it is about, and what was seen, as one sentence or two. */
export function sentenceOf({ subject, message }: ToldFinding): string {
  return `${subject.charAt(0).toUpperCase()}${subject.slice(1)}: ${message}`
}

/** The list in status; absent while nothing is known. An empty one says that somebody looked and nothing was found. */
export function patrolStatus(seen: Seen): Pick<TaskQueueStatus, 'patrol' | 'deadLetters'> {
  const findings = patrolFindings(seen)
  if (!findings) return {}
  const more = findings.length - MOST_FINDINGS
  return {
    patrol: { findings: findings.slice(0, MOST_FINDINGS), ...(more > 0 ? { more } : {}) },
    ...deadLetters(seen),
  }
}

function deadLetters({ queue, patrol }: Seen): Pick<TaskQueueStatus, 'deadLetters'> {
  if (!patrol?.known) return queue.status?.deadLetters ? { deadLetters: queue.status.deadLetters } : {}
  if (!patrol.deadLetters) return {}
  const { count, newestAt } = patrol.deadLetters
  return { deadLetters: { count, ...(newestAt === null ? {} : { newestAt: timestamp(new Date(newestAt)) }) } }
}

function told(code: FindingCode, severity: Severity, subject: string, message: string): ToldFinding {
  return { code, severity, subject: clipped(subject, MOST_CHARACTERS), message: clipped(message, MOST_CHARACTERS) }
}
