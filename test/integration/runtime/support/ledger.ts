// What really ran: tasks of the fixture app append a line when they begin and when they end. A file survives SIGKILL.
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** One line: what happened to which tag, in which process, at what time (milliseconds since the epoch). */
export interface Entry {
  readonly what: 'begin' | 'end'
  readonly tag: string
  readonly pid: number
  readonly at: number
  readonly attempt: number
  readonly redelivered: boolean
}

const folders: string[] = []
process.once('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

/** The path of a new ledger; its folder goes with this process. */
export function newLedger(): string {
  const folder = mkdtempSync(join(tmpdir(), 'taskqueue-ledger-'))
  folders.push(folder)
  return join(folder, 'ledger')
}

/** One append of less than a page is one write: lines of several processes don't mix. */
export function note(path: string, entry: Omit<Entry, 'pid' | 'at'>): void {
  appendFileSync(path, `${JSON.stringify({ ...entry, pid: process.pid, at: Date.now() })}\n`)
}

export function read(path: string): Entry[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    return []
  }
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Entry)
}

export const ended = (path: string): Entry[] => read(path).filter(({ what }) => what === 'end')
export const begun = (path: string, tag?: string): Entry[] =>
  read(path).filter((entry) => entry.what === 'begin' && (tag === undefined || entry.tag === tag))
