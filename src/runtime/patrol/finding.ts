// What a patrol says: one finding each, in the same words for as long as it lasts. Pure.

/** Stable names, for programs. */
export type FindingCode =
  | 'QueueWithoutConsumer'
  | 'ConsumerStalled'
  | 'ConsumerIdle'
  | 'ScheduleMissing'
  | 'ScheduleOverdue'
  | 'ScheduleNotRun'
  | 'DeadLettersGrowing'
  | 'BrokerNotPersistent'
  | 'BrokerEvictsKeys'
  | 'VisibilityTimeoutTooShort'
  | 'TwoBeats'
  | 'UnackedWithoutIndex'
  | 'UnackedAbandoned'
  /** Found by the operator alone: who else consumes a queue by intent is written in TaskQueues. */
  | 'QueueShared'
  | 'Unknown'

/** `critical`: work is lost, or stands still; `warning`: it will; `notice`: it may be as you want it; `unknown`: it could not be asked. */
export type Severity = 'critical' | 'warning' | 'unknown' | 'notice'

/** One thing that a patrol saw. No text has a figure that moves. */
export interface Finding {
  readonly code: FindingCode
  readonly severity: Severity
  /** What it is about: a queue, a schedule, a worker, `broker`. */
  readonly subject: string
  readonly saw: string
  readonly todo: string
}

const ORDER: readonly Severity[] = ['critical', 'warning', 'unknown', 'notice']

/** Each once, the worst first, and always in the same order. */
export function ordered(findings: readonly Finding[]): Finding[] {
  const once = new Map(findings.map((finding) => [`${finding.code} ${finding.subject}`, finding]))
  return [...once.values()].sort(
    (a, b) =>
      ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity) || compare(a.code, b.code) || compare(a.subject, b.subject),
  )
}

/** Whether a person has to look. What could not be asked needs one; a notice doesn't. */
export function needsPerson(findings: readonly Finding[]): boolean {
  return findings.some(({ severity }) => severity !== 'notice')
}

/** That something could not be had. */
export function unknown(subject: string, why: string): Finding {
  const todo = 'Nothing is concluded from it: let it be asked, or look for yourself.'
  return { code: 'Unknown', severity: 'unknown', subject, saw: `It could not be asked: ${why}.`, todo }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}
