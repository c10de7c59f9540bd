// What happened in a campaign: who was sent, what began and ended where, which faults there were. Plain data, and its file: one append of a
// line is one write, so that it survives SIGKILL and lines of several processes don't mix. What follows from it is in checker.ts.

import { appendFileSync, readFileSync } from 'node:fs'

/** What a job is to show. */
export const JOB_KINDS = ['plain', 'later', 'flaky', 'doomed', 'part', 'body'] as const
export type JobKind = (typeof JOB_KINDS)[number]

/** All instants are milliseconds of the machine's monotonic clock, which no process' clock shift touches. */
interface At {
  readonly at: number
}

/** A producer's word on a job. `unknown`: the broker's answer never came; it may be there or not. */
export interface Published extends At {
  readonly what: 'published'
  readonly id: string
  readonly kind: JobKind
  readonly fate: 'acknowledged' | 'unknown'
  /** When the broker's answer was there. */
  readonly answeredAt?: number
  /** When a `later` job may begin, by the broker's clock. */
  readonly due?: number
  /** Of parts and bodies. */
  readonly chord?: string
}

/** An execution begins or ends. A `flaky` one ends by an error until its last attempt, a `doomed` one always. */
export interface Run extends At {
  readonly what: 'begin' | 'end' | 'threw'
  readonly id: string
  /** From 1. */
  readonly attempt: number
  readonly pid: number
}

export const FAULT_KINDS = [
  'kill worker',
  'stop worker',
  'stop worker for long',
  'scale down',
  'rolling update',
  'kill beat',
  'stop beat',
  'cut clients',
  'silent network',
  'slow network',
  'restart broker',
  'stop broker',
  'full broker',
  'clock step',
] as const
/** What is done only where a replica stands beside the broker: it loses by nature, and what it loses is counted by itself. */
export const PROMOTION = 'promote replica'
export type FaultKind = (typeof FAULT_KINDS)[number] | typeof PROMOTION

export interface Fault {
  readonly what: 'fault'
  readonly kind: FaultKind
  readonly from: number
  readonly to: number
  /** The processes that it met; none for all of them. */
  readonly pids?: readonly number[]
  /** Of a promotion: bytes of its stream that the primary had written, and the replica had not got. */
  readonly lostBytes?: number
}

/** A message of beat: which slot of which schedule, by the task that ran for it. */
export interface Slot extends At {
  readonly what: 'slot'
  readonly schedule: string
  /** Milliseconds since the epoch. */
  readonly slot: number
  readonly id: string
  readonly attempt: number
  readonly pid: number
}

/** A process of the subject was started. */
export interface Started extends At {
  readonly what: 'started'
  readonly pid: number
  readonly engine: string
}

export type Event = Published | Run | Fault | Slot | Started

/** How it ended: what the subject says of itself once all is healed. */
export interface End {
  /** Jobs that lie in the broker still, when it was given up waiting; 0 when it drained. */
  readonly left: number
  /** Ids in the dead letters, or what stands for them. */
  readonly dead: readonly string[]
  /** Of each schedule: slots since the beginning, and how many are accounted as missed. */
  readonly schedules: readonly { readonly name: string; readonly passed: number; readonly missed: number }[]
}

/** How far the machine's wall clock had moved against its monotonic one since the campaign began. */
export interface WallOffset extends At {
  readonly movedMs: number
}

/** What a subject promises; a rule about something else is not applied. */
export interface Promises {
  readonly later: boolean
  readonly retries: boolean
  readonly deadLetters: boolean
  readonly chords: boolean
  readonly beat: boolean
  /** How long a job may be in nobody's hands before another takes it, in milliseconds. */
  readonly leaseMs: number
  /** How much earlier than due a job may begin, in milliseconds: the resolution of its clock. */
  readonly earlyMs: number
  /** An attempt is told from a repetition of the same attempt. */
  readonly attempts: boolean
}

export interface History {
  readonly events: readonly Event[]
  readonly end: End
  readonly promises: Promises
  /** In the order of time. */
  readonly wall: readonly WallOffset[]
  /** Attempts of a flaky job that fail, and how many a doomed one has. */
  readonly failures: number
  readonly maxAttempts: number
}

export function append(file: string, event: Event): void {
  appendFileSync(file, `${JSON.stringify(event)}\n`)
}

/** A line that was cut off by the end of its process is no event. */
export function read(file: string): Event[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    return []
  }
  return text.split('\n').flatMap((line) => {
    try {
      return line === '' ? [] : [JSON.parse(line) as Event]
    } catch {
      return []
    }
  })
}

/** The machine's monotonic clock in milliseconds; Python's time.monotonic_ns reads the same. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
