// What one look of a patrol saw: plain data, each part an answer of its own. How it is got is in reading.ts.
import type { Answer, BrokerSafety, UnackedState } from '../broker/safety.ts'
import type { DeadLetterSummary, Presence } from '../broker/store.ts'
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
  /** The message of its last slot still lies in its queue; undefined when the queue is too long to be searched whole. */
  readonly waits: boolean | undefined
}

/** What a worker says of its settings: it doesn't change while it runs. */
export interface WorkerSettings {
  /** Python's visibility timeout in seconds, kombu's 3600 when it isn't set. */
  readonly visibilitySeconds: number
  readonly timeLimitSeconds: number | undefined
}

/** What a broker says to everybody who looks at it, whatever they look for: several may share it. */
export interface Survey {
  readonly safety: BrokerSafety
  readonly consumers: Answer<readonly Consumer[]>
  /** Of workers that were asked, by their names. */
  readonly settings: ReadonlyMap<string, WorkerSettings>
  readonly deadLetters: Answer<DeadLetterSummary>
  readonly unacked: Answer<UnackedState>
}

export interface Look extends Survey {
  /** On the looker's own clock that never jumps, in milliseconds. */
  readonly at: number
  /** The broker's clock in milliseconds since the epoch. */
  readonly brokerMs: number
  readonly depth: Depth
  readonly presence: Answer<readonly Presence[]>
  readonly schedules: Answer<readonly ScheduleSeen[]>
}

/** From when on something is a finding. Seconds. */
export interface Limits {
  readonly idleQueueSeconds: number
  readonly stalledSeconds: number
  /** That of Python workers, for those that don't tell. */
  readonly visibilityTimeoutSeconds: number
  /** For how many seconds a queue may have no consumer while one is started for it. In any case two looks have to see it. */
  readonly startSeconds?: ReadonlyMap<string, number>
}
