// What a library is to the benchmark: something that sends jobs and something that works on them. On Node; Celery's is celery_contestant.py.

import type { Job } from './job.ts'
import type { JobArgs, Load } from './load.ts'

export interface Sender {
  /** Resolves when the broker has it. */
  one(args: JobArgs): Promise<void>
  /** By the quickest way that the library has for so many. Resolves when the broker has them all. */
  many(list: readonly JobArgs[]): Promise<void>
  /** One that begins no earlier than at an instant in milliseconds since the epoch. */
  later(list: readonly JobArgs[], startAt: number): Promise<void>
  close(): Promise<void>
}

export interface Contestant {
  sender(load: Load): Promise<Sender>
  /** Resolves when it takes jobs. */
  work(load: Load, job: Job, concurrency: number): Promise<{ close(): Promise<void> }>
}
