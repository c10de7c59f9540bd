// What the clocks' skew means: ClockSynchronized, whose clock is wrong, and what to do. Pure; the measurements are in skew.ts.

import { ended, type Finding } from './conditions.ts'
import type { Condition } from './objects.ts'
import { skewText, type Offset, type Skew } from './skew.ts'
import type { TaskQueue, TaskQueueStatus } from './taskqueue.ts'

/** A skew that was beyond the limit must fall to this part of it: at the limit itself it would be told again and again. */
const RELEASE = 0.9

/** The figures behind the SKEW column. */
export function clockStatus(skew: Skew): NonNullable<TaskQueueStatus['clock']> {
  const worst = [skew.broker, skew.ntp].filter((each) => each !== undefined)
  const [first] = worst.toSorted((a, b) => Math.abs(b.seconds) - Math.abs(a.seconds))
  return {
    skew: skewText(first?.seconds),
    // Of clocks that agree, the farthest is another one each time.
    ...(first && skewText(first.seconds) !== skewText(0) ? { pod: first.pod } : {}),
    ...(skew.broker ? { hostAgainstBroker: skewText(skew.broker.seconds) } : {}),
    ...(skew.ntp ? { hostAgainstNtp: skewText(skew.ntp.seconds) } : {}),
    ...(skew.brokerAgainstNtp ? { brokerAgainstNtp: skewText(skew.brokerAgainstNtp.seconds) } : {}),
    ...(skew.beat ? { hostAgainstBeat: skewText(skew.beat.seconds) } : {}),
  }
}

/** @param disciplineAllowed the chart's `policy.allowDiscipline` */
export function clockFinding(queue: TaskQueue, skew: Skew, disciplineAllowed: boolean): Finding {
  const type = 'ClockSynchronized'
  const { mode, maxSkewSeconds } = queue.spec.clockSync
  if (mode === 'Off')
    return { type, status: 'Unknown', reason: 'Off', message: 'spec.clockSync.mode is Off: clocks are not measured.' }
  const remarks = remarksOf(queue, skew, disciplineAllowed)
  const message = (sentence: string): string => [sentence, ...remarks.map((remark) => remark.message)].join(' ')
  if (skew.broker === undefined && skew.ntp === undefined) {
    const sentence = 'No pod has measured its clock against the broker yet.'
    return { type, status: 'Unknown', reason: 'NotMeasured', message: message(sentence) }
  }
  const before = queue.status?.conditions?.find((condition) => condition.type === type) as Condition | undefined
  const limit = before?.status === 'False' ? maxSkewSeconds * RELEASE : maxSkewSeconds
  const problem = problemOf(skew, limit, `the limit is ${maxSkewSeconds}s`)
  if (problem) return { type, status: 'False', reason: problem.reason, message: message(problem.message) }
  const agree = skew.ntp ? "the broker's clock and with NTP" : "the broker's clock"
  const sentence = `All pods agree with ${agree}; the limit is ${maxSkewSeconds}s.`
  return { type, status: 'True', reason: remarks[0]?.reason ?? 'WithinLimit', message: message(sentence) }
}

type Said = Pick<Finding, 'reason' | 'message'>

/** Whose clock is wrong, as far as can be told, the first that explains the others. */
function problemOf(skew: Skew, limit: number, said: string): Said | undefined {
  const beyond = <T extends { readonly seconds: number }>(offset: T | undefined): offset is T =>
    offset !== undefined && Math.abs(offset.seconds) > limit
  const { broker, ntp, brokerAgainstNtp: reference, beat } = skew
  const found: Said[] = []
  if (beyond(reference))
    found.push({
      reason: 'BrokerClockSkewed',
      message: `The broker's clock is ${way(reference)} NTP (${reference.source}), as ${reference.pods === 1 ? 'a pod' : 'pods'} measured; ${said}. Correct the time on the broker's host.`,
    })
  if (beyond(ntp))
    found.push({
      reason: 'PodClockSkewed',
      message: `Pod ${ntp.pod} is ${way(ntp)} NTP (${ntp.source}); ${said}. Correct the time on ${nodeOf(ntp)}.`,
    })
  if (found.length === 0 && beyond(broker))
    found.push(wrongBroker(broker, limit, said) ?? againstBroker(skew, broker, said))
  if (found.length === 0 && beyond(beat))
    found.push({
      reason: 'BeatClockSkewed',
      message: `Pod ${beat.pod} is ${way(beat)} beat; ${said}. Correct the time on ${nodeOf(beat)} or on beat's.`,
    })
  const [first] = found
  return first && { reason: first.reason, message: found.map(({ message }) => message).join(' ') }
}

/** A pod whose clock is right by NTP and that is far from the broker: others may not have seen it yet. */
function wrongBroker(
  { pod, seconds, ntp }: NonNullable<Skew['broker']>,
  limit: number,
  said: string,
): Said | undefined {
  if (!ntp || Math.abs(ntp.seconds) > limit || Math.abs(ntp.seconds - seconds) <= limit) return undefined
  const off = way({ seconds: ntp.seconds - seconds })
  return {
    reason: 'BrokerClockSkewed',
    message: `The broker's clock is ${off} NTP (${ntp.source}), as pod ${pod} measured; ${said}. Correct the time on the broker's host.`,
  }
}

/** Without NTP only a majority tells who is wrong. */
function againstBroker({ shared }: Skew, offset: Offset, said: string): Said {
  const sentence = `Pod ${offset.pod} is ${way(offset)} the broker; ${said}.`
  return shared
    ? {
        reason: 'BrokerClockSkewed',
        message: `${sentence} Every pod says the same, so it is the broker's clock that is wrong: correct the time on the broker's host.`,
      }
    : {
        reason: 'PodClockSkewed',
        message: `${sentence} Correct the time on ${nodeOf(offset)}, or the broker's if that is the wrong one: NTP servers in spec.clockSync.servers tell.`,
      }
}

function way({ seconds }: { readonly seconds: number }): string {
  return `${skewText(seconds).slice(1)} ${seconds > 0 ? 'ahead of' : 'behind'}`
}

function nodeOf({ node }: Offset): string {
  return node === undefined ? "that pod's node" : `node ${node}`
}

/** What costs nobody the condition, and must be known. */
function remarksOf(queue: TaskQueue, skew: Skew, disciplineAllowed: boolean): Said[] {
  const { mode, servers = [] } = queue.spec.clockSync
  const remarks: Said[] = []
  if (mode === 'Discipline' && !disciplineAllowed)
    remarks.push({
      reason: 'DisciplineNotAllowed',
      message: "Clocks are monitored only: Discipline needs policy.allowDiscipline in the operator's chart.",
    })
  else if (mode === 'Discipline' && skew.disciplineTrouble)
    remarks.push({
      reason: 'DisciplineUnavailable',
      message: `Clocks are monitored only, as pod ${skew.disciplineTrouble.pod} says: ${ended(skew.disciplineTrouble.message)}`,
    })
  if (servers.length > 0 && !skew.ntp && skew.ntpTrouble)
    remarks.push({
      reason: 'NtpUnknown',
      message: `Nothing is known of NTP, as pod ${skew.ntpTrouble.pod} says: ${ended(skew.ntpTrouble.message)}`,
    })
  return remarks
}
