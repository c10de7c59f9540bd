// Jobs in a SQLite file, by Node's own driver: they outlive the process, and the processes of one machine share them.
import { setTimeout as pause } from 'node:timers/promises'
import type { DatabaseSync } from 'node:sqlite'
import type { ClaimTerms, JobChange, JobRecord, JobStore, RunRecord } from './job-store.ts'

/** How long a statement waits for another process's. Milliseconds. */
const BUSY_MS = 5000

const SCHEMA = `
CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, next_run_at INTEGER, paused INTEGER NOT NULL, trigger TEXT NOT NULL, record TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, job_id TEXT NOT NULL, slot INTEGER NOT NULL, lease_until INTEGER NOT NULL) STRICT;
`

export class SqliteJobStore implements JobStore {
  readonly persistent = true
  readonly shared = true
  readonly #path: string
  #database: DatabaseSync | undefined

  /** @param path the file; it is made when it isn't there. Not on a network file system: SQLite's locks don't hold there. */
  constructor(path: string) {
    this.#path = path
  }

  async open(): Promise<void> {
    // Loaded when it is used: Node warns that it is new.
    const { DatabaseSync } = await import('node:sqlite')
    const database = new DatabaseSync(this.#path, { timeout: BUSY_MS })
    try {
      await makeReady(database)
    } catch (error) {
      database.close()
      throw error
    }
    this.#database = database
  }

  close(): Promise<void> {
    this.#database?.close()
    this.#database = undefined
    return Promise.resolve()
  }

  list(): Promise<JobRecord[]> {
    return Promise.resolve(this.#db.prepare('SELECT record, trigger, next_run_at, paused FROM jobs').all().map(jobOf))
  }

  get(id: string): Promise<JobRecord | undefined> {
    const row = this.#db.prepare('SELECT record, trigger, next_run_at, paused FROM jobs WHERE id = ?').get(id)
    return Promise.resolve(row && jobOf(row))
  }

  add({ nextRunAt, paused, trigger, ...record }: JobRecord): Promise<void> {
    this.#db
      .prepare(
        `INSERT INTO jobs (id, next_run_at, paused, trigger, record) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET record = excluded.record, trigger = excluded.trigger,
           next_run_at = CASE WHEN jobs.trigger = excluded.trigger THEN jobs.next_run_at ELSE excluded.next_run_at END`,
      )
      .run(record.id, nextRunAt, paused ? 1 : 0, JSON.stringify(trigger), JSON.stringify(record))
    return Promise.resolve()
  }

  change(id: string, { paused, trigger, nextRunAt }: JobChange): Promise<boolean> {
    const set: [string, string | number | null][] = []
    if (paused !== undefined) set.push(['paused', paused ? 1 : 0])
    if (trigger !== undefined) set.push(['trigger', JSON.stringify(trigger)])
    if (nextRunAt !== undefined) set.push(['next_run_at', nextRunAt])
    const columns = set.map(([column]) => `${column} = ?`).join(', ')
    const update = this.#db.prepare(`UPDATE jobs SET ${columns} WHERE id = ?`)
    return Promise.resolve(update.run(...set.map(([, value]) => value), id).changes > 0)
  }

  remove(id: string): Promise<boolean> {
    return Promise.resolve(this.#db.prepare('DELETE FROM jobs WHERE id = ?').run(id).changes > 0)
  }

  claim(
    id: string,
    expected: number,
    next: number | null,
    runs: readonly RunRecord[],
    { maxInstances, now, leaseMs }: ClaimTerms & { readonly maxInstances: number },
  ): Promise<number | undefined> {
    return Promise.resolve(
      this.#atomically(() => {
        const moved = this.#db
          .prepare('UPDATE jobs SET next_run_at = ? WHERE id = ? AND next_run_at = ? AND paused = 0')
          .run(next, id, expected)
        if (moved.changes === 0) return undefined
        const active = this.#db.prepare('SELECT count(*) AS n FROM runs WHERE job_id = ?').get(id)
        const ours = runs.slice(0, Math.max(0, maxInstances - Number(active?.['n'] ?? 0)))
        const insert = this.#db.prepare('INSERT INTO runs (id, job_id, slot, lease_until) VALUES (?, ?, ?, ?)')
        for (const run of ours) insert.run(run.id, run.jobId, run.slot, now + leaseMs)
        return ours.length
      }),
    )
  }

  renew(runIds: readonly string[], { now, leaseMs }: ClaimTerms): Promise<void> {
    const update = this.#db.prepare('UPDATE runs SET lease_until = ? WHERE id = ?')
    this.#atomically(() => {
      for (const id of runIds) update.run(now + leaseMs, id)
    })
    return Promise.resolve()
  }

  finish({ id }: RunRecord): Promise<void> {
    this.#db.prepare('DELETE FROM runs WHERE id = ?').run(id)
    return Promise.resolve()
  }

  takeLost({ now, leaseMs }: ClaimTerms): Promise<RunRecord[]> {
    const rows = this.#db
      .prepare('UPDATE runs SET lease_until = ? WHERE lease_until <= ? RETURNING id, job_id, slot')
      .all(now + leaseMs, now)
    return Promise.resolve(
      rows.map((row) => ({ id: String(row['id']), jobId: String(row['job_id']), slot: Number(row['slot']) })),
    )
  }

  get #db(): DatabaseSync {
    if (!this.#database) throw new Error('the store is not open')
    return this.#database
  }

  /** Takes the write lock first: two that read and then write would both be refused. */
  #atomically<T>(run: () => T): T {
    this.#db.exec('BEGIN IMMEDIATE')
    try {
      const result = run()
      this.#db.exec('COMMIT')
      return result
    } catch (error) {
      this.#db.exec('ROLLBACK')
      throw error
    }
  }
}

/** Waits for other processes that make the same new file ready: SQLite itself refuses the change of the journal's mode at once then. */
async function makeReady(database: DatabaseSync): Promise<void> {
  const deadline = performance.now() + BUSY_MS
  for (;;) {
    try {
      database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; ${SCHEMA}`)
      return
    } catch (error) {
      if (!isBusy(error) || performance.now() > deadline) throw error
    }
    await pause(10)
  }
}

function isBusy(error: unknown): boolean {
  // The low byte is the kind of the error, SQLITE_BUSY; the others say more about it.
  return error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === 5
}

function jobOf(row: Record<string, unknown>): JobRecord {
  const record = JSON.parse(String(row['record'])) as Omit<JobRecord, 'nextRunAt' | 'paused' | 'trigger'>
  const next = row['next_run_at']
  return {
    ...record,
    trigger: JSON.parse(String(row['trigger'])) as JobRecord['trigger'],
    nextRunAt: next === null ? null : Number(next),
    paused: row['paused'] === 1,
  }
}
