// Records of processes and what they allow: a process is ours only when its id and its start time both match the record.
// Starts nothing itself, and never finds a process by its name.
import { mkdirSync, readFileSync, readdirSync, readlinkSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { LocalClusterError } from './errors.ts'

/** A process that was started here. Ids are used again; an id together with its start time is not. */
export interface ProcessRecord {
  readonly pid: number
  /** Field 22 of /proc/<pid>/stat: clock ticks since boot, as text. */
  readonly startTime: string
  /** What it is, for people. */
  readonly name: string
}

/** State letter and start time of a line of /proc/<pid>/stat. The command's name may hold blanks and brackets. */
export function parseStat(line: string): { state: string; parent: number; startTime: string } | undefined {
  const rest = line
    .slice(line.lastIndexOf(')') + 1)
    .trim()
    .split(' ')
  const [state, parent] = rest
  const startTime = rest[19]
  if (state === undefined || parent === undefined || startTime === undefined) return undefined
  return { state, parent: Number(parent), startTime }
}

/** Reads a record that was written by {@link writeRecord} or by a launching shell; undefined when there is none or it is torn. */
export function parseRecord(text: string): ProcessRecord | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const { pid, startTime, name } = value as Record<string, unknown>
  if (typeof pid !== 'number' || !Number.isInteger(pid) || pid <= 1) return undefined
  if (typeof startTime !== 'string' || !/^\d+$/.test(startTime)) return undefined
  return { pid, startTime, name: typeof name === 'string' ? name : '' }
}

/** Whether a record still names a living process: the same id, the same start time, and not a zombie. */
export function recordMatches(record: ProcessRecord, statLine: string | undefined): boolean {
  if (statLine === undefined) return false
  const stat = parseStat(statLine)
  return stat !== undefined && stat.startTime === record.startTime && stat.state !== 'Z' && stat.state !== 'X'
}

/** The process's line in /proc; undefined when there is no such process. */
export function readStat(pid: number | 'self'): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined
  }
}

/** Whether the recorded process is alive. */
export function isAlive(record: ProcessRecord): boolean {
  return recordMatches(record, readStat(record.pid))
}

/** The record of a process that is alive now; undefined when it is gone. */
export function recordOf(pid: number, name: string): ProcessRecord | undefined {
  const line = readStat(pid)
  const stat = line === undefined ? undefined : parseStat(line)
  return stat && { pid, startTime: stat.startTime, name }
}

/** Writes a record so that a reader sees all of it or none. */
export function writeRecord(file: string, record: ProcessRecord): void {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(`${file}.new`, `${JSON.stringify(record)}\n`)
  renameSync(`${file}.new`, file)
}

/** Reads a record; undefined when there is none. */
export function readRecord(file: string): ProcessRecord | undefined {
  try {
    return parseRecord(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}

/**
 * Ends a recorded process: SIGTERM, then SIGKILL once `termSeconds` have gone by. Does nothing when the record's process is gone.
 * @param termSeconds 0 kills at once
 * @throws LocalClusterError `COMPONENT_FAILED` when it survives SIGKILL for 10 s
 */
export async function stopRecorded(record: ProcessRecord, termSeconds: number): Promise<void> {
  if (termSeconds > 0) {
    signal(record, 'SIGTERM')
    if (await waitUntil(() => !isAlive(record), termSeconds)) return
  }
  signal(record, 'SIGKILL')
  if (await waitUntil(() => !isAlive(record), 10)) return
  throw new LocalClusterError(
    'COMPONENT_FAILED',
    `${record.name} (process ${record.pid}) survives SIGKILL; look at /proc/${record.pid}/stack.`,
  )
}

function signal(record: ProcessRecord, name: NodeJS.Signals): void {
  if (!isAlive(record)) return
  try {
    process.kill(record.pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Waits until `condition` holds; false when it does not within the time. */
export async function waitUntil(
  condition: () => boolean | Promise<boolean>,
  seconds: number,
  everySeconds = 0.05,
): Promise<boolean> {
  const deadline = performance.now() + seconds * 1000
  for (;;) {
    if (await condition()) return true
    if (performance.now() >= deadline) return false
    await delay(everySeconds * 1000)
  }
}

/** A process inside another pid namespace, as this one sees it. */
export interface NamespacedProcess {
  readonly pid: number
  /** Its id inside its own pid namespace. */
  readonly innerPid: number
  readonly namespace: string
}

/** Every living process that is in a pid namespace below this one. */
export function namespacedProcesses(): NamespacedProcess[] {
  const found: NamespacedProcess[] = []
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const process = readNamespaced(Number(entry))
    if (process) found.push(process)
  }
  return found
}

function readNamespaced(pid: number): NamespacedProcess | undefined {
  try {
    const innerPid = innermostPid(readFileSync(`/proc/${pid}/status`, 'utf8'))
    if (innerPid === undefined) return undefined
    return { pid, innerPid, namespace: readlinkSync(`/proc/${pid}/ns/pid`) }
  } catch {
    // It ended while it was being looked at.
    return undefined
  }
}

/** The id in the innermost pid namespace, from /proc/<pid>/status; undefined for a process that is in no namespace below the reader's. */
export function innermostPid(status: string): number | undefined {
  const ids = /^NSpid:\s*(.*)$/m.exec(status)?.[1]?.trim().split(/\s+/)
  if (!ids || ids.length < 2) return undefined
  return Number(ids.at(-1))
}
