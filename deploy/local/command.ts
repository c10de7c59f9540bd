// Runs one external command to its end and hands back what it printed. Not for daemons: those are launched (namespace.ts).
import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { LocalClusterError } from './errors.ts'

/** How a command is run. */
export interface CommandOptions {
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly cwd?: string
  /** Written to the command's standard input, which is otherwise empty. */
  readonly input?: string
  /** File that takes the command's whole output, appended; {@link CommandResult.stdout} is then empty. */
  readonly log?: string
  /** Seconds after which the command is killed and counts as failed. */
  readonly timeoutSeconds?: number
  /** Let the command outlive this process when it is killed. For what a sudden end would damage, such as the package database. */
  readonly outlives?: boolean
}

/** What a finished command left behind. */
export interface CommandResult {
  /** Exit status; 128 plus the signal's number is not used: a command ended by a signal has `null`. */
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

const running = new Set<ChildProcess>()

/** Ends the commands that are still running, e.g. because the user interrupted this process. */
export function endRunningCommands(): void {
  for (const child of running) child.kill('SIGTERM')
}

/**
 * Runs a command and returns its standard output.
 * @throws LocalClusterError `COMMAND_FAILED` when it exits other than 0; `TOOL_MISSING` when it can't be started
 */
export async function run(command: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await attempt(command, args, options)
  if (result.status === 0) return result.stdout
  const said = lastLines(options.log ? readFileSync(options.log, 'utf8') : result.stderr || result.stdout, 12)
  const how = result.status === null ? 'was ended by a signal or its time limit' : `exited ${result.status}`
  throw new LocalClusterError(
    'COMMAND_FAILED',
    `${shown(command, args)} ${how}${said ? `:\n${said}` : ''}`,
    options.log,
  )
}

/**
 * Runs a command whose failure is an answer too.
 * @throws LocalClusterError `TOOL_MISSING` when it can't be started
 */
export async function attempt(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const output = options.log === undefined ? 'pipe' : openSync(options.log, 'a')
  const [program, ...rest] = options.outlives ? [command, ...args] : tied(command, args)
  try {
    const child = spawn(program, rest, {
      env: options.env ?? process.env,
      cwd: options.cwd,
      stdio: [options.input === undefined ? 'ignore' : 'pipe', output, output],
      timeout: options.timeoutSeconds === undefined ? undefined : options.timeoutSeconds * 1000,
      killSignal: 'SIGKILL',
    })
    return await finished(child, command, options.input)
  } finally {
    if (typeof output === 'number') closeSync(output)
  }
}

/** The command line that runs `command` so that the kernel kills it when the thread that started it ends, however that ends. */
export function tied(command: string, args: readonly string[]): [string, ...string[]] {
  return ['setpriv', '--pdeathsig', 'KILL', '--', command, ...args]
}

function finished(child: ChildProcess, command: string, input: string | undefined): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    running.add(child)
    child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk))
    child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk))
    child.on('error', (error) => {
      running.delete(child)
      reject(
        new LocalClusterError(
          'TOOL_MISSING',
          `${command} could not be started: ${error.message}. Install it or put it on the PATH.`,
        ),
      )
    })
    child.on('close', (status) => {
      running.delete(child)
      resolve({
        status,
        stdout: Buffer.concat(stdout).toString('utf8'),
        stderr: Buffer.concat(stderr).toString('utf8'),
      })
    })
    // A command that ends without reading its input is judged by its exit status, not by the broken pipe.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(input)
  })
}

/** The last `count` lines of a text, without the empty ones at its end. */
export function lastLines(text: string, count: number): string {
  return text.trimEnd().split('\n').slice(-count).join('\n')
}

function shown(command: string, args: readonly string[]): string {
  const line = [command, ...args].map((word) => (/\s/.test(word) ? JSON.stringify(word) : word)).join(' ')
  return line.length > 300 ? `${line.slice(0, 300)}...` : line
}
