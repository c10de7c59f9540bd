// A timer inside a web server, in real processes: what a bare setInterval loses or doubles by a restart, by reloads and in a cluster, and
// that a Scheduler in its place does not. Both are treated alike, side by side.
import { execFileSync } from 'node:child_process'
import { constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { until } from '../../fixtures/until.ts'
import {
  BARE,
  CLUSTER,
  ENDS_WITH_PARENT,
  EXPRESS,
  FASTIFY,
  doubled,
  endServers,
  lost,
  runs,
  startServer,
  toldOf,
  type WebServer,
} from './support/web-server.ts'

/** What `node --watch` watches: the server itself is loaded from where it is. */
const PROGRAM = 'await import(process.env.SERVER)\n'

let folder: string
let bareLedger: string
let ledger: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'taskqueue-web-'))
  bareLedger = join(folder, 'bare')
  ledger = join(folder, 'scheduler')
})
afterEach(async () => {
  await endServers()
  rmSync(folder, { recursive: true, force: true })
})

const bareEnv = (periodSeconds: number): Record<string, string> => ({
  LEDGER: bareLedger,
  PERIOD_SECONDS: String(periodSeconds),
})
const env = (periodSeconds: number): Record<string, string> => ({
  LEDGER: ledger,
  JOBS_DB: join(folder, 'jobs.db'),
  PERIOD_SECONDS: String(periodSeconds),
})

/** Each slot from one instant to another has run once, or was told of. */
async function expectEachOnce(period: number, from: number, to: number, ...servers: WebServer[]): Promise<void> {
  const missing = (): number[] => lost(ledger, period, from, to).filter((slot) => !toldOf(...servers).includes(slot))
  // Those of the last moments may still be on their way.
  await until('no slot is missing', () => missing().length === 0, 10).catch(() => undefined)
  expect(missing()).toEqual([])
  expect(doubled(ledger)).toEqual([])
}

describe.each([
  ['Fastify', 'fastify', FASTIFY],
  ['Express', 'express', EXPRESS],
])('%s', (_, framework, file) => {
  it('with a bare timer loses what comes due while it restarts, with a Scheduler nothing', async () => {
    const period = 0.5
    const serveBare = (): WebServer => startServer([BARE], { ...bareEnv(period), FRAMEWORK: framework })
    const serve = (): WebServer => startServer([file], env(period))
    const [bare, first] = [serveBare(), serve()]
    await Promise.all([bare.serving(), first.serving()])
    const from = Date.now()
    expect(await first.get('/healthz')).toEqual({ status: 'ok' })
    expect(await first.get('/jobs')).toMatchObject([{ id: 'close-period', trigger: { kind: 'every', seconds: 0.5 } }])
    await until('both have run', () => runs(bareLedger).length >= 2 && runs(ledger).length >= 2)

    for (const server of [bare, first]) server.child.kill('SIGTERM')
    expect([await bare.exit(), await first.exit()]).toEqual([0, 0])
    const down = Date.now()
    const up = await until('slots have come due', () => Date.now() > down + 4 * period * 1000 && Date.now())
    const before = runs(bareLedger).length
    serveBare()
    const second = serve()
    await until('the bare timer runs again', () => runs(bareLedger).length > before)

    expect(lost(bareLedger, period, down, up).length).toBeGreaterThanOrEqual(3)
    await expectEachOnce(period, from, up, first, second)
  })

  it('ends a run that is under way before it ends itself', async () => {
    // The run can't open a pipe to write until somebody reads it.
    execFileSync('mkfifo', [ledger])
    const server = startServer([file], env(2))
    const next = (): Promise<unknown> => server.get('/jobs')
    const atFirst = JSON.stringify(await next())
    await until('a slot is claimed', async () => JSON.stringify(await next()) !== atFirst)
    server.child.kill('SIGTERM')
    await until('it is told to end', () => server.lines().some(({ event }) => event === 'stopping'))
    const pipe = await open(ledger, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      expect(await server.exit()).toBe(0)
      expect(await pipe.readFile('utf8')).toContain('"slot":')
    } finally {
      await pipe.close()
    }
  })
})

describe('a cluster of 3 processes', () => {
  it('runs a slot 3 times with a bare timer, and once with a Scheduler, whichever of them is replaced', async () => {
    const period = 0.5
    const several = { WEB_PROCESSES: '3' }
    const bare = startServer([CLUSTER, BARE], { ...bareEnv(period), ...several })
    const primary = startServer([CLUSTER, FASTIFY], { ...env(period), ...several })
    await Promise.all([bare.serving(3), primary.serving(3)])
    const from = Date.now()
    await until('each process has run the same slot', () => {
      const all = runs(bareLedger)
      return all.some(({ slot }) => new Set(all.filter((run) => run.slot === slot).map(({ pid }) => pid)).size === 3)
    })

    for (const nth of [4, 5]) {
      const already = runs(ledger).length
      // The others look after it only now and then: the one that has claimed the last slot is missed most.
      const busiest = await until(
        'more has run',
        () =>
          runs(ledger)
            .slice(already + 1)
            .at(-1)?.pid,
      )
      process.kill(busiest, 'SIGTERM')
      await primary.serving(nth)
    }
    const to = Date.now()
    await expectEachOnce(period, from, to, primary)
    primary.child.kill('SIGTERM')
    expect(await primary.exit()).toBe(0)
    expect(doubled(ledger)).toEqual([])
  })
})

describe('node --watch', () => {
  const served = (server: WebServer): number => server.lines().filter(({ event }) => event === 'listening').length

  /** Saves the watched file, as an editor does, until the server has begun anew. */
  async function reload(server: WebServer, watched: string): Promise<void> {
    const before = served(server)
    const { pid } = await server.serving(before)
    let saved = 0
    await until('it has reloaded', () => {
      // Again while it still runs, since a change before the file is watched goes unseen. No longer: its successor would never be ready.
      if (isAlive(pid) && Date.now() > saved + 700) {
        writeFileSync(watched, PROGRAM)
        saved = Date.now()
      }
      return served(server) > before
    })
  }

  it('keeps a bare timer from its period by reloads, and costs a Scheduler no slot', { timeout: 90_000 }, async () => {
    const period = 3
    const watch = (name: string, env: Record<string, string>): [WebServer, string] => {
      const watched = join(folder, name)
      writeFileSync(watched, PROGRAM)
      return [startServer(['--watch', '--import', ENDS_WITH_PARENT, watched], env), watched]
    }
    const bare = watch('bare.mjs', { ...bareEnv(period), SERVER: BARE })
    const held = watch('held.mjs', { ...env(period), SERVER: FASTIFY })
    await Promise.all([bare[0].serving(), held[0].serving()])
    const from = Date.now()
    const lostEnough = (): boolean =>
      lost(bareLedger, period, from, Date.now()).length >= 2 && served(bare[0]) >= 5 && served(held[0]) >= 5
    // Reloads that come faster than the period, as they do while somebody works on the code.
    await Promise.all(
      [bare, held].map(([server, watched]) =>
        until(
          'the bare timer has lost slots',
          async () => {
            await reload(server, watched)
            return lostEnough()
          },
          60,
        ),
      ),
    )
    await expectEachOnce(period, from, Date.now(), held[0])
    expect(runs(ledger).length).toBeGreaterThanOrEqual(2)
  })
})

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
