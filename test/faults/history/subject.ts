// What a library is to a campaign: how jobs are sent, how its worker processes are started, what it promises. One file each in subjects/.

import type { ChildProcess } from 'node:child_process'
import type { Redis } from 'ioredis'
import type { End, JobKind, Promises } from './history.ts'

export interface Job {
  readonly id: string
  readonly kind: Exclude<JobKind, 'part' | 'body'> | 'chord'
  readonly millis: number
  /** Of `later`, in seconds. */
  readonly countdown?: number
  /** Ids of a chord's parts; its body's is `id`. */
  readonly parts?: readonly string[]
}

/** Where a worker or a beat finds its broker, and with which clock. */
export interface Surroundings {
  readonly brokerPort: number
  readonly ledger: string
  readonly env: Readonly<Record<string, string>>
}

/** A process of the subject. Several engines may work on one queue. */
export interface Engine {
  readonly name: string
  start(surroundings: Surroundings): ChildProcess
  /** Whether its clock may be set: an engine that goes by its own clock for a promise of the others can not be. */
  readonly clockMayBeSet: boolean
}

export interface Producer {
  /** Rejects when the broker's answer is not known. */
  send(job: Job): Promise<void>
  close(): Promise<void>
}

export interface Subject {
  readonly name: string
  readonly label: string
  readonly promises: Promises
  /** Of worker processes, in turns. */
  readonly engines: readonly Engine[]
  /** Slots of its four workers that are kept busy, so that each fault meets work and the backlog stays small. */
  readonly busySlots: number
  /** How many jobs of a hundred are of each kind; the others are plain. */
  readonly mix: Readonly<Partial<Record<Job['kind'], number>>>
  producer(brokerPort: number, ledger: string): Promise<Producer>
  /** Beat, when it is promised. */
  readonly beat?: (surroundings: Surroundings, folder: string) => ChildProcess
  /** Jobs that lie in the broker. */
  left(redis: Redis): Promise<number>
  /** What it says of itself at the end. `began`: the epoch millisecond from which slots count. */
  end(redis: Redis, brokerPort: number, folder: string, began: number): Promise<Omit<End, 'left'>>
  /** Before the first job. */
  prepare?(redis: Redis, folder: string, began: number): Promise<void>
}
