// Where a Scheduler keeps its jobs and what runs of them. A claim is one atomic step, so that however many processes share a store,
// each slot is one process's to run.
import type { BrokerTime } from '../broker/store.ts'
import type { TriggerSpec } from './triggers.ts'

/** A job as it is kept. Instants are milliseconds since the epoch. */
export interface JobRecord {
  readonly id: string
  /** The name under which its function is registered. */
  readonly fn: string
  /** Plain data. */
  readonly args: readonly unknown[]
  readonly trigger: TriggerSpec
  readonly misfireGraceSeconds: number
  readonly coalesce: boolean
  readonly maxInstances: number
  readonly jitterSeconds: number
  readonly paused: boolean
  /** The slot that comes next; null when there is none any more. */
  readonly nextRunAt: number | null
}

/** What may change of a job. */
export type JobChange = Partial<Pick<JobRecord, 'paused' | 'trigger' | 'nextRunAt'>>

/** One run of a slot, from its claim to its end. */
export interface RunRecord {
  readonly id: string
  readonly jobId: string
  readonly slot: number
}

/** How long a claim lasts. */
export interface ClaimTerms {
  /** The caller's clock, in milliseconds since the epoch. A store with a clock of its own goes by that: hosts' clocks disagree. */
  readonly now: number
  /** Milliseconds until it ends unless it is renewed. */
  readonly leaseMs: number
}

export interface JobStore {
  /** Whether jobs outlive the process: their functions must be registered by name then. */
  readonly persistent: boolean
  /** Whether other processes see the same jobs. */
  readonly shared: boolean
  open(): Promise<void>
  /** The store's own clock, by which all that share it judge what is due. Without it that is this machine's. */
  time?(): Promise<BrokerTime>
  close(): Promise<void>
  list(): Promise<JobRecord[]>
  get(id: string): Promise<JobRecord | undefined>
  /**
   * Adds a job, or puts it in the place of the one with its id, whose next slot stays while the trigger is the same, and which stays
   * paused. One step: other processes add it as well, and move its next slot on.
   */
  add(job: JobRecord): Promise<void>
  /** Changes what is given of a job, and nothing else. False when there is none. */
  change(id: string, change: JobChange): Promise<boolean>
  /** False when there is none. */
  remove(id: string): Promise<boolean>
  /**
   * Moves a job's next slot on, and records the runs of the slots that are due, in one step.
   * @param expected the next slot as the caller knows it
   * @param terms `maxInstances`: runs of this job at once, those of other processes included; later ones are left out
   * @returns how many of the runs are ours; undefined when another process was here, or the job has changed: nothing is done then
   */
  claim(
    id: string,
    expected: number,
    next: number | null,
    runs: readonly RunRecord[],
    terms: ClaimTerms & { readonly maxInstances: number },
  ): Promise<number | undefined>
  /** Renews runs' claims; those that are not there any more are left out. */
  renew(runIds: readonly string[], terms: ClaimTerms): Promise<void>
  finish(run: RunRecord): Promise<void>
  /** Takes over the runs whose claim has ended, since their process was lost between claim and end; they are claimed anew. */
  takeLost(terms: ClaimTerms): Promise<RunRecord[]>
}
