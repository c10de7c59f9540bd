// What is known of a TaskQueue's broker at one moment: the input of status and scaling. Plain data; how it is got is in
// inspector.ts.

import type { Finding as PatrolFinding, StalledQueue } from '@taskqueue/runtime/patrol'

export interface QueueDepth {
  /** Messages ready to be taken, all priorities. */
  waiting: number
  /** Messages taken and not yet settled. */
  inFlight: number
  /** Messages that wait for their time. */
  parked: number
}

/** What one container of a pod says about itself in the presence hash. */
export interface PodPresence {
  podUid: string
  kind: 'worker' | 'beat' | 'companion'
  /** The pod's clock minus the broker's, in seconds; null while it isn't known. */
  offsetSeconds: number | null
  busySlots: number
  slots: number
  detail: Readonly<Record<string, unknown>>
}

export type BrokerReason = 'Reachable' | 'Unreachable' | 'SecretNotFound' | 'UrlInvalid'

export type BrokerObservation =
  | {
      reachable: true
      queues: ReadonlyMap<string, QueueDepth>
      /** Messages that Python workers hold, eta'd ones included, in whatever queue: their records don't tell which. */
      foreignInFlight: number
      presence: readonly PodPresence[]
    }
  /** `message` is redacted and says what to do. */
  | { reachable: false; reason: Exclude<BrokerReason, 'Reachable'>; message: string }

/** How many dead letters there are, and when the newest of them died: milliseconds since the epoch, null when there is none. */
export interface DeadLetters {
  readonly count: number
  readonly newestAt: number | null
}

/** What a patrol has seen; nothing before its second look. */
export type PatrolObservation =
  | {
      readonly known: true
      /** When the look was, on the monotonic clock. */
      readonly at: number
      readonly findings: readonly PatrolFinding[]
      readonly stalled: readonly StalledQueue[]
      /** Of the whole broker; undefined when it may not be asked. */
      readonly deadLetters: DeadLetters | undefined
    }
  /** It could not look: what it says of that is its only finding. */
  | { readonly known: false; readonly findings: readonly PatrolFinding[] }

/** How often beat's last tick and next run are told anew: each time is a write to every TaskQueue that has a beat. */
const TICK_TOLD_MS = 600_000

/** Which of these periods an instant of a pod's detail lies in; undefined when it is none. */
export function tickPeriod(instant: unknown): number | undefined {
  return typeof instant === 'number' ? Math.floor(instant / TICK_TOLD_MS) : undefined
}
