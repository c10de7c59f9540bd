// Conditions after the Kubernetes API conventions: lastTransitionTime moves only with the status, observedGeneration with the spec.

import type { Condition } from './objects.ts'

export type ConditionType =
  | 'Ready'
  | 'WorkersAvailable'
  | 'BeatReady'
  | 'ClockSynchronized'
  | 'BrokerReachable'
  | 'QueuesServed'
  | 'SchedulesOnTime'
  | 'Suspended'

/** One finding about a TaskQueue. The message tells a person what to do. */
export interface Finding {
  type: ConditionType
  status: Condition['status']
  /** CamelCase, stable. */
  reason: string
  message: string
}

/** The findings as conditions, each keeping its lastTransitionTime while its status stays. */
export function conditionsFrom(
  findings: readonly Finding[],
  before: readonly Condition[],
  generation: number,
  now: Date,
): Condition[] {
  return findings.map((finding) => {
    const known = before.find((condition) => condition.type === finding.type)
    const lastTransitionTime =
      known?.status === finding.status ? known.lastTransitionTime : now.toISOString().replace(/\.\d+Z$/, 'Z')
    return { ...finding, observedGeneration: generation, lastTransitionTime }
  })
}

/** Findings whose status or reason is not what the conditions said before: each is worth an Event. */
export function changedFindings(findings: readonly Finding[], before: readonly Condition[]): Finding[] {
  return findings.filter((finding) => {
    const known = before.find((condition) => condition.type === finding.type)
    return known?.status !== finding.status || known.reason !== finding.reason
  })
}
