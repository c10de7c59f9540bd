// Conditions after the Kubernetes API conventions: lastTransitionTime moves only with the status, observedGeneration with the spec.

import { timestamp, type Condition } from './objects.ts'

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

/** A condition is for reading: so many sentences of a list are told, and how many more there are. */
const MOST_SENTENCES = 10
/** Far below the 32768 characters that the CRD allows, which would cost the whole status. */
const MOST_CHARACTERS = 8_192

/** Several sentences as one message. */
export function sentences(list: readonly string[]): string {
  const more = list.length - MOST_SENTENCES
  return [...list.slice(0, MOST_SENTENCES), ...(more > 0 ? [`And ${more} more.`] : [])].join(' ')
}

/** The sentence with its full stop. */
export function ended(sentence: string): string {
  return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`
}

/** Cut to so many characters, where it has more. */
export function clipped(text: string, most: number): string {
  // Not half of a character: the API server would store another one, and the status would differ for ever.
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`.toWellFormed()
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
    const lastTransitionTime = known?.status === finding.status ? known.lastTransitionTime : timestamp(now)
    return {
      ...finding,
      message: clipped(finding.message, MOST_CHARACTERS),
      observedGeneration: generation,
      lastTransitionTime,
    }
  })
}

/**
 * The findings that are worth an Event: what changed, and what is bad from the start. Ready only sums up the others, so it is told
 * only when no other says the same.
 */
export function eventfulFindings(findings: readonly Finding[], before: readonly Condition[]): Finding[] {
  const changed = findings.filter((finding) => {
    const known = before.find((condition) => condition.type === finding.type)
    if (!known) return isBad(finding)
    return known.status !== finding.status || known.reason !== finding.reason
  })
  return changed.filter(
    (finding) =>
      finding.type !== 'Ready' || !changed.some((other) => other !== finding && other.reason === finding.reason),
  )
}

/** False is bad for all conditions but Suspended, which only says what was asked for. */
export function isBad(finding: Finding): boolean {
  return finding.status === 'False' && finding.type !== 'Suspended'
}
