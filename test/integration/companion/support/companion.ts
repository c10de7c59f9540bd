// The companion as a process of a test's own: started, asked, and ended by its recorded process.

import { spawn, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { tied } from '../../../../deploy/local/command.ts'
import { eventually } from '../../../fixtures/eventually.ts'
import { freePort } from '../../../fixtures/redis-server.ts'

const MAIN = fileURLToPath(new URL('../../../../src/companion/main.ts', import.meta.url))

/** What /clock says, as far as tests look. */
export interface ClockAnswer {
  mode: string
  host: {
    offsetSeconds: number | null
    errorSeconds: number | null
    source: string | null
    stratum: number | null
    servers: { name: string; offsetSeconds: number | null; state: string; trouble?: string }[]
  } | null
  broker: { offsetSeconds: number; errorSeconds: number } | null
  brokerAgainstNtp: { offsetSeconds: number; errorSeconds: number } | null
  beat: { offsetSeconds: number; errorSeconds: number; ageSeconds: number } | null
  steps: { count: number; lastSeconds: number | null; lastAgeSeconds: number | null }
  discipline?: { refId: string; stratum: number; leap: string; systemOffsetSeconds: number; ageSeconds: number }
  ntpTrouble?: string
  disciplineTrouble?: string
}

export interface Companion {
  readonly process: ChildProcess
  readonly output: () => string
  clock(): Promise<ClockAnswer>
  metrics(): Promise<string>
  close(): Promise<void>
}

/** Starts one without waiting for anything; `TASKQUEUE_COMPANION_PORT` is a free port unless it is given. */
export async function launchCompanion(env: Readonly<Record<string, string>>): Promise<Companion> {
  const port = await freePort()
  const [program, ...args] = tied(process.execPath, [MAIN])
  const child = spawn(program, args, {
    env: { PATH: process.env.PATH, TASKQUEUE_COMPANION_PORT: String(port), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const gone = new Promise((resolve) => child.once('exit', resolve))
  const ask = async (path: string): Promise<Response> => fetch(`http://127.0.0.1:${port}${path}`)
  return {
    process: child,
    output: () => output,
    clock: async () => (await (await ask('/clock')).json()) as ClockAnswer,
    metrics: async () => (await ask('/metrics')).text(),
    close: async () => {
      if (child.exitCode === null) child.kill('SIGKILL')
      await gone
    },
  }
}

/** Starts one and resolves once it answers. */
export async function startCompanion(env: Readonly<Record<string, string>>): Promise<Companion> {
  const companion = await launchCompanion(env)
  await eventually(async () => expect((await companion.clock()).mode).toBeTruthy())
  return companion
}
