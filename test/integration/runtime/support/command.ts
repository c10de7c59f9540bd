// Runs the built `taskqueue` command: workers and beats as processes that can be killed, other commands to their end.
import { spawn, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { tied } from '../../../../deploy/local/command.ts'
import { until } from '../../../fixtures/until.ts'

export const TASKQUEUE = fileURLToPath(new URL('../../../../src/runtime/bin/taskqueue.js', import.meta.url))
export const FIXTURE_APP = fileURLToPath(new URL('../fixtures/app.ts', import.meta.url))

export type LogLine = Readonly<Record<string, unknown>>

/** A running `taskqueue worker` or `beat`. */
export interface Process {
  readonly child: ChildProcess
  readonly pid: number
  /** Its log so far. */
  lines(): LogLine[]
  /** Waits for a log line with this event. */
  event(name: string, seconds?: number): Promise<LogLine>
  /** GET on its health port. */
  health(path: string): Promise<{ status: number; body: string }>
  signal(name: NodeJS.Signals): void
  /** Waits for its end. */
  exit(seconds?: number): Promise<number | NodeJS.Signals>
  /** Ends it if it still runs. */
  end(): Promise<void>
}

const started: Process[] = []

/** Ends every process that was started here; for afterEach. */
export async function endAll(): Promise<void> {
  await Promise.all(started.splice(0).map((process) => process.end()))
}

function environment(env: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TASKQUEUE_')))
  return { ...clean, TASKQUEUE_HEALTH_PORT: '0', ...env }
}

export function launch(args: readonly string[], env: Readonly<Record<string, string>>): Process {
  const [program, ...rest] = tied(process.execPath, [TASKQUEUE, ...args])
  const child = spawn(program, rest, { env: environment(env), stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
  const lines = (): LogLine[] =>
    out
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as LogLine)
  const ended = (): number | NodeJS.Signals | undefined => child.exitCode ?? child.signalCode ?? undefined
  const running: Process = {
    child,
    pid: child.pid ?? 0,
    lines,
    event: (name, seconds) =>
      until(
        `taskqueue ${args[0] ?? ''} logs ${name}; it has logged ${out.slice(-2000)} ${err}`,
        () => lines().find((line) => line['event'] === name),
        seconds,
      ),
    health: async (path) => {
      const { port } = await running.event('health-port')
      const response = await fetch(`http://127.0.0.1:${String(port)}${path}`)
      return { status: response.status, body: await response.text() }
    },
    signal: (name) => child.kill(name),
    exit: (seconds) => until(`taskqueue ${args[0] ?? ''} ends`, ended, seconds),
    end: async () => {
      if (ended() === undefined) child.kill('SIGKILL')
      // A stopped process takes the signal only once it goes on.
      child.kill('SIGCONT')
      await until('the process is gone', ended)
    },
  }
  started.push(running)
  return running
}

/** A worker on the fixture app, consuming once it is returned. */
export async function startWorker(
  redisUrl: string,
  options: { queues?: string; concurrency?: number; env?: Record<string, string>; args?: string[] } = {},
): Promise<Process> {
  const { queues = 'celery', concurrency = 4, env = {}, args = [] } = options
  const flags = ['--app', FIXTURE_APP, '--queues', queues, '--concurrency', String(concurrency), ...args]
  const worker = launch(['worker', ...flags], { TASKQUEUE_BROKER_URL: redisUrl, ...env })
  await worker.event('broker-connected')
  return worker
}

export interface Output {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a command to its end. */
export function run(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Output> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [TASKQUEUE, ...args], {
      env: environment(env),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, stdout, stderr }))
  })
}
