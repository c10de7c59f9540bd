// One holder at a time, across processes: a file that names its holder by id and start time, so that a dead holder holds nothing.
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { LocalClusterError } from './errors.ts'
import { isAlive, parseRecord, recordOf, waitUntil, type ProcessRecord } from './processes.ts'

/** How to wait for a lock. */
export interface LockOptions {
  /** What the holder does, for people, e.g. `cluster-up`. */
  readonly purpose: string
  /** Seconds to wait for a living holder before giving up. */
  readonly waitSeconds: number
  /** Told once when there is a living holder to wait for. */
  readonly onWait?: (holder: ProcessRecord) => void
}

/**
 * Does `work` while holding the lock.
 * @throws LocalClusterError `LOCKED` when a living process keeps it for longer than `waitSeconds`
 */
export async function withLock<T>(file: string, options: LockOptions, work: () => Promise<T>): Promise<T> {
  const release = await acquire(file, options)
  try {
    return await work()
  } finally {
    release()
  }
}

async function acquire(file: string, options: LockOptions): Promise<() => void> {
  mkdirSync(dirname(file), { recursive: true })
  const own = recordOf(process.pid, options.purpose)
  if (!own) throw new Error('this process has no entry in /proc')
  let told = false
  const taken = await waitUntil(
    () => {
      if (take(file, own)) return true
      const holder = readHolder(file)
      if (holder && isAlive(holder)) {
        if (!told) options.onWait?.(holder)
        told = true
        return false
      }
      dropStale(file)
      return take(file, own)
    },
    options.waitSeconds,
    0.25,
  )
  if (!taken) {
    const holder = readHolder(file)
    const who = holder ? `${holder.name} (process ${holder.pid})` : 'another process'
    throw new LocalClusterError('LOCKED', `${file} is held by ${who}. Wait for it to end, or end it, and try again.`)
  }
  return () => {
    if (readHolder(file)?.pid === own.pid) rmSync(file, { force: true })
  }
}

// The file appears with its content, because a link to a finished file is made in one step.
function take(file: string, holder: ProcessRecord): boolean {
  const draft = `${file}.${process.pid}`
  writeFileSync(draft, `${JSON.stringify(holder)}\n`)
  try {
    linkSync(draft, file)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    unlinkSync(draft)
  }
}

// Moved aside before it is judged again: another process may have replaced the stale file with its own in the meantime.
function dropStale(file: string): void {
  const aside = `${file}.stale.${process.pid}`
  try {
    renameSync(file, aside)
  } catch {
    return
  }
  const holder = readHolder(aside)
  if (holder && isAlive(holder)) take(file, holder)
  unlinkSync(aside)
}

function readHolder(file: string): ProcessRecord | undefined {
  try {
    return parseRecord(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}
