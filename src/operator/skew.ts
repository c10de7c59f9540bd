// Which pod's clock is farthest from the broker's, and what that means. Pure. An offset that nobody could measure is Unknown, never 0.

import type { Finding } from './conditions.ts'
import type { BrokerObservation } from './inspect/observation.ts'
import type { LivePod } from './objects.ts'
import type { TaskQueue } from './taskqueue.ts'

export interface Skew {
  /** Seconds, signed: positive when the pod is ahead. Undefined while unknown. */
  offsetSeconds?: number
  pod?: string
  /** For the SKEW column. */
  text: string
  /** True when every measured pod says nearly the same, beyond its own noise: then it is the broker's clock that is off. */
  shared: boolean
}

export function worstSkew(broker: BrokerObservation | undefined, pods: readonly LivePod[]): Skew {
  const known = new Map(pods.map((pod) => [pod.metadata.uid, pod.metadata.name]))
  const measured = (broker?.reachable ? broker.presence : []).flatMap((entry) => {
    const pod = known.get(entry.podUid)
    return pod !== undefined && entry.offsetSeconds !== null ? [{ pod, offset: entry.offsetSeconds }] : []
  })
  const worst = measured.toSorted((a, b) => Math.abs(b.offset) - Math.abs(a.offset) || a.pod.localeCompare(b.pod))[0]
  if (!worst) return { text: 'Unknown', shared: false }
  const offsets = measured.map((m) => m.offset)
  const spread = Math.max(...offsets) - Math.min(...offsets)
  const distinct = new Set(measured.map((m) => m.pod)).size
  return {
    offsetSeconds: worst.offset,
    pod: worst.pod,
    text: skewText(worst.offset),
    shared: distinct > 1 && spread < Math.abs(worst.offset) / 2,
  }
}

/**
 * Coarse on purpose, since status is written whenever it changes: under a quarter of a second the clocks agree as far as
 * any schedule or timeout here can tell.
 */
function skewText(offset: number): string {
  const size = Math.abs(offset)
  if (size < 0.25) return '<0.25s'
  const rounded = size < 10 ? (Math.round(size * 2) / 2).toFixed(1) : size.toFixed(0)
  return `${offset < 0 ? '-' : '+'}${rounded}s`
}

export function clockFinding(queue: TaskQueue, skew: Skew): Finding {
  const type = 'ClockSynchronized'
  const { mode, maxSkewSeconds } = queue.spec.clockSync
  if (mode === 'Off')
    return { type, status: 'Unknown', reason: 'Off', message: 'spec.clockSync.mode is Off: clocks are not measured.' }
  if (skew.offsetSeconds === undefined) {
    return {
      type,
      status: 'Unknown',
      reason: 'NotMeasured',
      message: 'No pod has measured its clock against the broker yet.',
    }
  }
  const limit = `the limit is ${maxSkewSeconds}s`
  if (Math.abs(skew.offsetSeconds) <= maxSkewSeconds) {
    return { type, status: 'True', reason: 'WithinLimit', message: `All pods agree with the broker's clock; ${limit}.` }
  }
  const way = skew.offsetSeconds > 0 ? 'ahead of' : 'behind'
  const whose = skew.shared
    ? `Every pod says the same, so it is the broker's clock that is wrong: correct the time on the broker's host.`
    : `Correct the time on that pod's node.`
  const message = `Pod ${skew.pod ?? '?'} is ${skew.text.slice(1)} ${way} the broker; ${limit}. ${whose}`
  return { type, status: 'False', reason: skew.shared ? 'BrokerClockSkewed' : 'PodClockSkewed', message }
}
