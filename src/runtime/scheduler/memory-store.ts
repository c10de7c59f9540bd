// Jobs in this process: gone with it. Right for work that a restart may forget.
import type { JobChange, JobRecord, JobStore, RunRecord } from './job-store.ts'

export class MemoryJobStore implements JobStore {
  readonly persistent = false
  readonly shared = false
  readonly #jobs = new Map<string, JobRecord>()
  readonly #runs = new Map<string, RunRecord>()

  open(): Promise<void> {
    return Promise.resolve()
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  list(): Promise<JobRecord[]> {
    return Promise.resolve([...this.#jobs.values()])
  }

  get(id: string): Promise<JobRecord | undefined> {
    return Promise.resolve(this.#jobs.get(id))
  }

  add(job: JobRecord): Promise<void> {
    const before = this.#jobs.get(job.id)
    const same = before && JSON.stringify(before.trigger) === JSON.stringify(job.trigger)
    const nextRunAt = same ? before.nextRunAt : job.nextRunAt
    this.#jobs.set(job.id, { ...job, nextRunAt, paused: before?.paused ?? job.paused })
    return Promise.resolve()
  }

  change(id: string, change: JobChange): Promise<boolean> {
    const job = this.#jobs.get(id)
    if (job) this.#jobs.set(id, { ...job, ...change })
    return Promise.resolve(job !== undefined)
  }

  remove(id: string): Promise<boolean> {
    return Promise.resolve(this.#jobs.delete(id))
  }

  claim(
    id: string,
    expected: number,
    next: number | null,
    runs: readonly RunRecord[],
    { maxInstances }: { readonly maxInstances: number },
  ): Promise<number | undefined> {
    const job = this.#jobs.get(id)
    if (job?.nextRunAt !== expected || job.paused) return Promise.resolve(undefined)
    this.#jobs.set(id, { ...job, nextRunAt: next })
    const active = [...this.#runs.values()].filter(({ jobId }) => jobId === id).length
    const ours = runs.slice(0, Math.max(0, maxInstances - active))
    for (const run of ours) this.#runs.set(run.id, run)
    return Promise.resolve(ours.length)
  }

  renew(): Promise<void> {
    return Promise.resolve()
  }

  finish({ id }: RunRecord): Promise<void> {
    this.#runs.delete(id)
    return Promise.resolve()
  }

  takeLost(): Promise<RunRecord[]> {
    // What is lost with the process is lost with its memory.
    return Promise.resolve([])
  }
}
