// What is known of a TaskQueue's broker at one moment: the input of status and scaling. Plain data; how it is got is in
// inspector.ts.

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

/** How often beat's last tick and next run are told anew: each time is a write to every TaskQueue that has a beat. */
const TICK_TOLD_MS = 600_000

/** Which of these periods an instant of a pod's detail lies in; undefined when it is none. */
export function tickPeriod(instant: unknown): number | undefined {
  return typeof instant === 'number' ? Math.floor(instant / TICK_TOLD_MS) : undefined
}
