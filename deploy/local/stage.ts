// Says what is being done and how long it took: one line when a stage begins, one when it ends, one every 15 s between.
// Not a logger: a command's own output goes to its log file.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { lastLines } from './command.ts'
import { LocalClusterError } from './errors.ts'

/** Takes one line for the person who is watching. */
export type Say = (line: string) => void

/** Runs stages one after the other and reports on each. */
export class Stages {
  readonly #say: Say
  readonly #now: () => number
  readonly #heartbeatSeconds: number

  /**
   * @param say takes each line
   * @param now monotonic clock in milliseconds
   * @param heartbeatSeconds how often a long stage says that it is still going
   */
  constructor(say: Say, now: () => number = () => performance.now(), heartbeatSeconds = 15) {
    this.#say = say
    this.#now = now
    this.#heartbeatSeconds = heartbeatSeconds
  }

  /**
   * Runs one stage.
   * @param log file whose last line is shown by the heartbeat
   * @throws whatever `work` throws, after saying that the stage failed
   */
  async run<T>(name: string, work: () => Promise<T>, log?: string): Promise<T> {
    const started = this.#now()
    const elapsed = () => `${((this.#now() - started) / 1000).toFixed(1)} s`
    this.#say(`==> ${name}`)
    const heartbeat = setInterval(() => {
      const doing = log ? lastLines(tail(log, 400), 1).trim().slice(-100) : ''
      this.#say(`    ${name}: ${elapsed()} so far${doing ? ` (${doing})` : ''}`)
    }, this.#heartbeatSeconds * 1000)
    try {
      const result = await work()
      this.#say(`    ${name}: done in ${elapsed()}`)
      return result
    } catch (error) {
      this.#say(`    ${name}: FAILED after ${elapsed()}`)
      throw error
    } finally {
      clearInterval(heartbeat)
    }
  }

  /** Says one line that belongs to no stage. */
  note(line: string): void {
    this.#say(line)
  }
}

/** What a person needs to see of a failure: its reason and, when a component is at fault, the last lines of its log. */
export function describeFailure(error: unknown): string {
  if (!(error instanceof LocalClusterError))
    return error instanceof Error ? (error.stack ?? error.message) : String(error)
  if (error.log === undefined) return `${error.code}: ${error.message}`
  return `${error.code}: ${error.message}\nThe last lines of ${error.log}:\n${lastLines(tail(error.log, 16384), 30)}`
}

/** The last bytes of a file as text; empty when it can't be read. */
export function tail(file: string, bytes: number): string {
  let descriptor: number
  try {
    descriptor = openSync(file, 'r')
  } catch {
    return ''
  }
  try {
    const size = fstatSync(descriptor).size
    const buffer = Buffer.alloc(Math.min(size, bytes))
    readSync(descriptor, buffer, 0, buffer.length, size - buffer.length)
    return buffer.toString('utf8')
  } finally {
    closeSync(descriptor)
  }
}
