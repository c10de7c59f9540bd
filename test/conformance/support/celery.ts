// A real Celery of a given version, in a virtual environment of its own in the cache: commands, workers, snippets of Python.
import { spawn, execFile, type ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { tied } from '../../../deploy/local/command.ts'
import { withLock } from '../../../deploy/local/lockfile.ts'
import { cacheFolder } from '../../../deploy/local/settings.ts'
import { until } from '../../fixtures/until.ts'

const run = promisify(execFile)

/** The versions these tests were written against. Celery 5.6 takes any kombu from 5.6 on; this one can be told how often to sweep. */
export const CELERY = {
  '5.6': ['celery[redis]==5.6.3', 'kombu==5.7.0'],
  '5.7': ['celery[redis]==5.7.0', 'kombu==5.7.0'],
} as const
export type CeleryVersion = keyof typeof CELERY
export const CELERY_VERSIONS = Object.keys(CELERY) as CeleryVersion[]

/** A Flower, with the newest Celery. */
export const FLOWER = [...CELERY['5.7'], 'flower==2.2.0']

/** A Celery with OpenTelemetry's own instrumentation of it. */
export const TRACED = (version: CeleryVersion): readonly string[] => [
  ...CELERY[version],
  'opentelemetry-sdk==1.45.2',
  'opentelemetry-instrumentation-celery==0.66b2',
]

/** Where the Python modules of these tests lie. */
export const MODULES = fileURLToPath(new URL('.', import.meta.url))

/** The folder of a version's programs; made on first use, in one step, so that a broken installation is never found. */
export function celeryBin(version: CeleryVersion): Promise<string> {
  return pythonBin(CELERY[version])
}

/** The folder of the programs that come with packages from the Python registry. Of test files that run at once, one makes it. */
export async function pythonBin(packages: readonly string[]): Promise<string> {
  const home = join(cacheFolder(), 'venv', packages.join('+').replace(/[^a-zA-Z0-9.+=]/g, '-'))
  const bin = join(home, 'bin')
  if (existsSync(join(home, '.complete'))) return bin
  await mkdir(dirname(home), { recursive: true })
  const lock = { purpose: `making ${home}`, waitSeconds: 300 }
  await withLock(`${home}.lock`, lock, async () => {
    if (existsSync(join(home, '.complete'))) return
    // A virtual environment knows its own path: it is made where it stays, and marked when it is whole.
    await rm(home, { recursive: true, force: true })
    await run('python3', ['-m', 'venv', home])
    const quiet = ['--quiet', '--disable-pip-version-check']
    await run(join(bin, 'pip'), ['install', ...quiet, ...packages], { timeout: 300_000 })
    await mkdir(join(home, '.complete'))
  })
  return bin
}

export interface CeleryWorker {
  readonly child: ChildProcess
  output(): string
  end(): Promise<void>
}

/** A Celery at a broker. */
export class Celery {
  readonly #bin: string
  /** Of its programs. */
  readonly env: NodeJS.ProcessEnv
  readonly #workers: CeleryWorker[] = []

  /** @param env further variables of proj.py: KEY_PREFIX, REMOTE_CONTROL, TIME_LIMIT, VISIBILITY_TIMEOUT */
  constructor(bin: string, brokerUrl: string, env: Readonly<Record<string, string>> = {}) {
    this.#bin = bin
    this.env = { ...process.env, PYTHONPATH: MODULES, PYTHONDONTWRITEBYTECODE: '1', BROKER_URL: brokerUrl, ...env }
  }

  /** `celery -A proj ...`, to its end. */
  async command(...args: string[]): Promise<string> {
    const { stdout } = await run(join(this.#bin, 'celery'), ['-A', 'proj', '--no-color', ...args], {
      env: this.env,
      timeout: 60_000,
    })
    return stdout
  }

  /** A snippet that has `app` and prints JSON on its last line. */
  async python(snippet: string): Promise<unknown> {
    const code = `import json\nfrom proj import *\n${snippet}`
    const { stdout } = await run(join(this.#bin, 'python'), ['-c', code], { env: this.env, timeout: 60_000 })
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
  }

  /** A worker that consumes once it is returned. */
  async worker(queue: string, ...args: string[]): Promise<CeleryWorker> {
    const flags = ['worker', '--pool', 'solo', '-Q', queue, '-l', 'info', '-n', `py-${queue}@%h`, ...args]
    const worker = this.start(...flags)
    await until('the Python worker is ready', () => worker.output().includes(' ready.'), 60)
    return worker
  }

  /** `celery -A proj ...` that runs until it is ended. */
  start(...args: string[]): CeleryWorker {
    const [program, ...rest] = tied(join(this.#bin, 'celery'), ['-A', 'proj', ...args])
    const child = spawn(program, rest, {
      env: { ...this.env, PYTHONUNBUFFERED: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
    const worker: CeleryWorker = {
      child,
      output: () => output,
      end: async () => {
        if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
        await until('the Python process is gone', () => child.exitCode !== null || child.signalCode !== null)
      },
    }
    this.#workers.push(worker)
    return worker
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.splice(0).map((worker) => worker.end()))
  }
}
