// Who takes part in the benchmark: how its processes are started, and where in Redis its jobs lie. What they do is in their own files.

import { spawn, type ChildProcess } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { tied } from '../../deploy/local/command.ts'
import { CELERY, celeryBin } from '../../test/conformance/support/celery.ts'
import { until } from '../../test/fixtures/until.ts'
import type { Load, Role } from './load.ts'
import { installPeers, peerVersion } from './peers.ts'

export interface Entrant {
  readonly name: string
  readonly label: string
  /** Lists, and tables by their number of entries, that a job is in until it is done. */
  readonly lists: readonly string[]
  readonly sortedSets: readonly string[]
  readonly hashes: readonly string[]
  /** Jobs of a round relative to those of the quick ones. */
  readonly share: number
  /** The program for a role that ends by itself. */
  command(load: Load, role: Role): Promise<Command>
  /** The program of a worker, and the line by which it says that it works. */
  worker(load: Load, concurrency: number, lateFile: string): Promise<Command & { readonly ready: RegExp }>
}

interface Command {
  readonly program: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

export const QUEUE = 'bench'
const HERE = import.meta.dirname

function onNode(name: string, label: string, keys: Pick<Entrant, 'lists' | 'sortedSets' | 'hashes'>): Entrant {
  const command = (load: Load, role: Role): Command => ({
    program: process.execPath,
    args: [...process.execArgv, join(HERE, 'process.ts'), name, JSON.stringify(load), JSON.stringify(role)],
  })
  return {
    name,
    label,
    ...keys,
    share: 1,
    command: (load, role) => Promise.resolve(command(load, role)),
    worker: (load, concurrency) =>
      Promise.resolve({ ...command(load, { role: 'work', concurrency }), ready: /^ready$/ }),
  }
}

/** Celery 5.7 with tasks acknowledged late. */
function celery(pool: 'prefork' | 'threads'): Entrant {
  const env = (load: Load, lateFile = ''): Readonly<Record<string, string>> => ({
    BENCH_LOAD: JSON.stringify(load),
    BENCH_LATE_FILE: lateFile,
    PYTHONPATH: HERE,
    PYTHONDONTWRITEBYTECODE: '1',
    PYTHONUNBUFFERED: '1',
  })
  return {
    name: `celery-${pool}`,
    label: `Celery ${pool}`,
    lists: [QUEUE],
    sortedSets: [],
    hashes: ['unacked'],
    share: 0.04,
    command: async (load, role) => ({
      program: join(await celeryBin('5.7'), 'python'),
      args: [join(HERE, 'celery_contestant.py'), JSON.stringify(role)],
      env: env(load),
    }),
    worker: async (load, concurrency, lateFile) => ({
      program: join(await celeryBin('5.7'), 'celery'),
      args: [
        ...['-A', 'celery_contestant', 'worker', '--pool', pool, '--concurrency', String(concurrency)],
        ...[
          '-Q',
          QUEUE,
          '-l',
          'info',
          '--without-gossip',
          '--without-mingle',
          '-n',
          `bench-${process.hrtime.bigint()}@%h`,
        ],
      ],
      env: env(load, lateFile),
      ready: / ready\.$/,
    }),
  }
}

export const entrants: readonly Entrant[] = [
  onNode('ours', 'taskqueue', { lists: [QUEUE], sortedSets: [], hashes: ['unacked'] }),
  onNode('bullmq', 'BullMQ', {
    lists: [`bull:${QUEUE}:wait`, `bull:${QUEUE}:active`],
    sortedSets: [`bull:${QUEUE}:delayed`],
    hashes: [],
  }),
  onNode('beequeue', 'bee-queue', {
    lists: [`bq:${QUEUE}:waiting`, `bq:${QUEUE}:active`],
    sortedSets: [`bq:${QUEUE}:delayed`],
    hashes: [],
  }),
  celery('prefork'),
  celery('threads'),
]

export async function versions(): Promise<Readonly<Record<string, string>>> {
  const folder = await installPeers()
  return {
    bullmq: peerVersion(folder, 'bullmq'),
    'bee-queue': peerVersion(folder, 'bee-queue'),
    celery: CELERY['5.7'].join(' '),
  }
}

/** Runs a role to its end. @returns what it printed */
export async function play(entrant: Entrant, load: Load, role: Role): Promise<{ readonly seconds: number }> {
  const running = start(await entrant.command(load, role))
  const code = await new Promise((resolve) => running.child.once('close', resolve))
  const last = running.lines.at(-1)
  if (code !== 0 || last === undefined) throw new Error(`${entrant.name} ${role.role}: ${running.said()}`)
  return JSON.parse(last) as { seconds: number }
}

export interface RunningWorker {
  readonly pid: number
  /** Ends it. @returns how late jobs began, in microseconds */
  stop(): Promise<readonly number[]>
}

export async function work(entrant: Entrant, load: Load, concurrency: number): Promise<RunningWorker> {
  const lateFile = join(tmpdir(), `taskqueue-bench-late-${process.hrtime.bigint()}`)
  const { ready, ...command } = await entrant.worker(load, concurrency, lateFile)
  const { child, lines, said } = start(command)
  const ended = new Promise((resolve) => child.once('close', resolve))
  await until(`${entrant.name} is ready`, () => {
    if (child.exitCode !== null) throw new Error(`${entrant.name} ended: ${said()}`)
    return ready.test(
      said()
        .split('\n')
        .find((line) => ready.test(line)) ?? '',
    )
  })
  return {
    pid: child.pid ?? 0,
    stop: async () => {
      child.kill('SIGTERM')
      await ended
      const last = lines.at(-1)
      if (entrant.name.startsWith('celery')) return numbersIn(lateFile)
      return last?.startsWith('{') ? (JSON.parse(last) as { late: number[] }).late : []
    },
  }
}

function numbersIn(file: string): number[] {
  try {
    return readFileSync(file, 'utf8').split('\n').filter(Boolean).map(Number)
  } catch {
    return []
  } finally {
    rmSync(file, { force: true })
  }
}

function start({ program, args, env }: Command): { child: ChildProcess; lines: string[]; said: () => string } {
  const [first, ...rest] = tied(program, args)
  const child = spawn(first, rest, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const lines: string[] = []
  const all: string[] = []
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line)
    if (all.length < 500) all.push(line)
  })
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (all.length < 500) all.push(line)
  })
  return { child, lines, said: () => all.join('\n') }
}
