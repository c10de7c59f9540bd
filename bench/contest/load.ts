// What the contestants of the benchmark are given to do, the same for all. Plain data; how each does it is in a file of its own.

/** What a job does: nothing, a wait of 1 ms, or some 5 ms of hashing. */
export const WORKS = ['nothing', 'io', 'cpu'] as const
export type Work = (typeof WORKS)[number]

export interface Load {
  readonly url: string
  readonly queue: string
  readonly work: Work
  /** Whether what a job returns is stored. */
  readonly results: boolean
  /** Length of a job's argument. */
  readonly bytes: number
  /** Rounds of a hash that take about 5 ms on this machine: the same code of OpenSSL for Node and Python. */
  readonly hashRounds: number
}

/** How jobs are sent. `many` hands over so many at once as the library takes; `one` waits for each. */
export const SENDS = ['one', 'many'] as const
export type Send = (typeof SENDS)[number]
export const MANY = 1000

/** What the process of a contestant is asked to do. */
export type Role =
  | { readonly role: 'send'; readonly send: Send; readonly count: number }
  /** Jobs that carry when they were sent, at an even pace. */
  | { readonly role: 'pace'; readonly perSecond: number; readonly count: number }
  /** Jobs that may begin at `startAt` at the earliest, in milliseconds since the epoch. */
  | { readonly role: 'later'; readonly startAt: number; readonly count: number }
  /** Until it is told to stop; then it prints how late jobs began that carried when they were sent, in microseconds. */
  | { readonly role: 'work'; readonly concurrency: number }

/** What a job is given: its number, when it was sent by the machine's monotonic clock in microseconds (0 when nobody asks), and filling. */
export type JobArgs = readonly [number: number, sentMicros: number, filling: string]
