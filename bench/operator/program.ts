// A process that is measured: started in a group of the bench's, its output in a file, its time and memory read from /proc.
import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { tied } from '../../deploy/local/command.ts'
import { until } from '../../test/fixtures/until.ts'
import { cpuSeconds, memoryKiB } from '../proc.ts'

export class Program {
  readonly #child: ChildProcess
  readonly #log: string

  constructor(log: string, command: readonly [string, ...string[]], env: Readonly<Record<string, string>>) {
    const output = openSync(log, 'w')
    const [program, ...rest] = tied(command[0], command.slice(1))
    const clean = Object.entries(process.env).filter(([name]) => !name.startsWith('TASKQUEUE_'))
    this.#child = spawn(program, rest, {
      env: { ...Object.fromEntries(clean), ...env },
      stdio: ['ignore', output, output],
    })
    closeSync(output)
    this.#log = log
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** What it has said so far. */
  said(): string {
    return readFileSync(this.#log, 'utf8')
  }

  /** Waits until its output matches; throws when it ends before. */
  async says(pattern: RegExp, seconds = 60): Promise<RegExpExecArray> {
    return until(
      `the program says ${pattern.source}`,
      () => {
        if (this.#gone) throw new Error(`it ended: ${this.said().slice(-2000)}`)
        return pattern.exec(this.said()) ?? undefined
      },
      seconds,
    )
  }

  get #gone(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  /** User and system time so far. */
  cpuSeconds(): number {
    return cpuSeconds(this.pid)
  }

  /** In MiB: what is resident, the most that ever was, and what of it is its own. */
  memory(): { rss: number; peak: number; anonymous: number } {
    const mebibytes = (name: Parameters<typeof memoryKiB>[1]): number => Math.round(memoryKiB(this.pid, name) / 1024)
    return { rss: mebibytes('VmRSS'), peak: mebibytes('VmHWM'), anonymous: mebibytes('RssAnon') }
  }

  /** Ends it and waits until it is gone. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.#gone) return
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill(signal)
    await ended
  }
}
