// What one look of a patrol saw: plain data, each part an answer of its own. How it is got is in reading.ts.
import type { Answer, BrokerSafety, UnackedState } from '../broker/safety.ts'
import type { Presence } from '../broker/store.ts'
import type { Depth } from '../broker/transport.ts'

/** A worker that answered over the remote control, Node's or Python's. */
export interface Consumer {
  readonly name: string
  readonly python: boolean
  readonly queues: readonly string[]
  /** Tasks taken up since its start; undefined when it didn't tell. */
  readonly processed: number | undefined
  /** Tasks that run; undefined when it didn't tell. */
  readonly busy: number | undefined
  readonly slots: number | undefined
  /** Python's visibility timeout in seconds, kombu's 3600 when it isn't set; undefined when it didn't tell. */
  readonly visibilitySeconds: number | undefined
  /** Its longest hard time limit in seconds, as far as it is set. */
  readonly timeLimitSeconds: number | undefined
}

/** A schedule, and what the broker remembers of it. */
export interface ScheduleSeen {
  readonly name: string
  readonly paused: boolean
  /** Beat has written its place in the broker. */
  readonly known: boolean
  /** For how many seconds its next slot has been due. */
  readonly overdueSeconds: number
  /** Seconds since its last slot was sent; null when it wasn't. */
  readonly sentSecondsAgo: number | null
  /** The message of its last slot still lies in its queue. */
  readonly waits: boolean
}

export interface Look {
  /** On the looker's own clock that never jumps, in milliseconds. */
  readonly at: number
  /** The broker's clock in milliseconds since the epoch. */
  readonly brokerMs: number
  readonly safety: BrokerSafety
  readonly depth: Depth
  readonly consumers: Answer<readonly Consumer[]>
  readonly presence: Answer<readonly Presence[]>
  readonly deadLetters: Answer<number>
  readonly unacked: Answer<UnackedState>
  readonly schedules: Answer<readonly ScheduleSeen[]>
}

/** From when on something is a finding. Seconds. */
export interface Limits {
  readonly idleQueueSeconds: number
  readonly stalledSeconds: number
  /** That of Python workers, for those that don't tell. */
  readonly visibilityTimeoutSeconds: number
}
