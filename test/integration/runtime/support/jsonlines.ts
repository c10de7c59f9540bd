// A file of JSON lines that processes append to and a test reads: it survives SIGKILL.
import { appendFileSync, existsSync, readFileSync } from 'node:fs'

export type Line = Readonly<Record<string, unknown>>

/** One append of less than a page is one write: lines of several processes don't mix. */
export function append(path: string, line: object): void {
  appendFileSync(path, `${JSON.stringify(line)}\n`)
}

/** The whole lines so far. */
export function lines(path: string): Line[] {
  if (!existsSync(path)) return []
  const whole = readFileSync(path, 'utf8').split('\n').slice(0, -1)
  return whole.map((line) => JSON.parse(line) as Line)
}
