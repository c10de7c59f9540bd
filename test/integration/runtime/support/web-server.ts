// Web servers of the examples, and those with a bare timer, as processes: started, reloaded, ended. And the accounts of their ledgers.
import { spawn, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { tied } from '../../../../deploy/local/command.ts'
import { until } from '../../../fixtures/until.ts'

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url))
export const FASTIFY = path('../../../../deploy/examples/scheduler-fastify/server.ts')
export const EXPRESS = path('../../../../deploy/examples/scheduler-express/server.ts')
export const CLUSTER = path('../../../../deploy/examples/scheduler-cluster/primary.ts')
export const BARE = path('../fixtures/bare-timer-server.ts')
export const ENDS_WITH_PARENT = path('../fixtures/ends-with-parent.ts')

export interface WebServer {
  readonly child: ChildProcess
  /** What is logged so far, by all its processes. */
  lines(): Readonly<Record<string, unknown>>[]
  /** Waits for the nth process to serve, the first by default. */
  serving(nth?: number): Promise<{ readonly pid: number; readonly url: string }>
  /** GET, and the body as JSON. */
  get(path: string): Promise<unknown>
  /** Waits for its end. */
  exit(): Promise<number | NodeJS.Signals>
}

const started: WebServer[] = []

/** Ends every server that was started here; for afterEach. */
export async function endServers(): Promise<void> {
  await Promise.all(
    started.splice(0).map(async (server) => {
      // Whoever has processes of its own ends them before itself; they end with it when it doesn't.
      server.child.kill('SIGTERM')
      await server.exit().catch(() => server.child.kill('SIGKILL'))
      await server.exit()
    }),
  )
}

/** Runs node with these arguments on a port that is free. */
export function startServer(args: readonly string[], env: Readonly<Record<string, string>>): WebServer {
  const [program, ...rest] = tied(process.execPath, args)
  const child = spawn(program, rest, {
    env: { ...process.env, HOST: '127.0.0.1', PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
  const server: WebServer = {
    child,
    lines: () =>
      out
        .split('\n')
        .slice(0, -1)
        // `node --watch` says on the same stream what it does.
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    serving: async (nth = 1) => {
      const look = (): unknown => server.lines().filter(({ event }) => event === 'listening')[nth - 1]
      const line = await until('it serves', look).catch((error: unknown) => {
        throw new Error(`${args.join(' ')} printed ${out.slice(-2000)} ${err.slice(-2000)}`, { cause: error })
      })
      const { pid, port } = line as { pid: number; port?: number }
      return { pid, url: `http://127.0.0.1:${String(port)}` }
    },
    get: async (path) => {
      const { url } = await server.serving()
      return (await fetch(`${url}${path}`)).json()
    },
    exit: () => until('it has ended', () => child.exitCode ?? child.signalCode ?? undefined, 10),
  }
  started.push(server)
  return server
}

/** One run, as the servers note it in their ledger. */
export interface Run {
  readonly slot: number
  readonly pid: number
}

export function runs(ledger: string): Run[] {
  let text: string
  try {
    text = readFileSync(ledger, 'utf8')
  } catch {
    return []
  }
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Run)
}

/** The slots that have begun and ended between two instants, and were not run. */
export function lost(ledger: string, periodSeconds: number, from: number, to: number): number[] {
  const period = periodSeconds * 1000
  const ran = new Set(runs(ledger).map(({ slot }) => slot))
  const first = Math.ceil(from / period) * period
  const slots = Array.from({ length: Math.max(0, Math.floor((to - first) / period)) }, (_, i) => first + i * period)
  return slots.filter((slot) => !ran.has(slot))
}

/** The slots that were run more than once. */
export function doubled(ledger: string): number[] {
  const slots = runs(ledger).map(({ slot }) => slot)
  return slots.filter((slot, i) => slots.indexOf(slot) !== i)
}

/** The slots of which a server has told that it left them out. */
export function toldOf(...servers: readonly WebServer[]): number[] {
  return servers
    .flatMap((server) => server.lines())
    .filter(({ event }) => event === 'job-missed' || event === 'job-max-instances')
    .map(({ scheduledFor: slot }) => Date.parse(String(slot)))
}
