// The in-process Scheduler in real processes: several on one store, killed, restarted, in a cluster.
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { RedisJobStore } from '../../../src/runtime/scheduler/redis-store.ts'
import { every } from '../../../src/runtime/scheduler/triggers.ts'
import { tied } from '../../../deploy/local/command.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'
import { clockOff } from '../../fixtures/wrong-clock.ts'
import { begun, ended, newLedger } from './support/ledger.ts'

const PROCESS = fileURLToPath(new URL('./fixtures/scheduler-process.ts', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'taskqueue-scheduler-'))
let redis: RedisServer
const children: ChildProcess[] = []
let output = ''

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(async () => {
  await redis.close()
  rmSync(folder, { recursive: true, force: true })
})
afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => end(child, 'SIGKILL')))
  await redis.client.flushall()
  output = ''
})

function serve(ledger: string, env: Record<string, string>): ChildProcess {
  const [program, ...args] = tied(process.execPath, [PROCESS])
  const child = spawn(program, args, {
    env: { ...process.env, LEDGER: ledger, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  children.push(child)
  return child
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) child.kill(signal)
  await until('the process is gone', () => child.exitCode !== null || child.signalCode !== null)
}

const slots = (ledger: string): string[] => begun(ledger).map(({ tag }) => tag)

describe('several processes', () => {
  it('each run every job with a bare timer, or with a store of their own, which is warned of', async () => {
    const bare = newLedger()
    serve(bare, { STORE: 'interval', CLUSTER: '3' })
    await until('a slot ran several times', () => slots(bare).length > new Set(slots(bare)).size + 2)
    const own = newLedger()
    serve(own, { STORE: 'memory', CLUSTER: '3' })
    await until('a slot ran several times', () => slots(own).length > new Set(slots(own)).size + 2)
    expect(output).toContain('scheduler-not-alone')
    expect(output).toContain('give the Scheduler a store that they share')
  })

  it.each([
    ['SQLite', (): Record<string, string> => ({ STORE: 'sqlite', WHERE: join(folder, 'cluster.db') })],
    ['Redis', (): Record<string, string> => ({ STORE: 'redis', WHERE: redis.url })],
  ])('run each slot once on a store in %s, whoever is killed', { timeout: 90_000 }, async (_, where) => {
    const ledger = newLedger()
    const env = where()
    for (let i = 0; i < 3; i++) serve(ledger, env)
    await until('it runs', () => begun(ledger).length >= 3)
    for (let kill = 0; kill < 3; kill++) {
      const before = begun(ledger).length
      await until('more has run', () => begun(ledger).length >= before + 2)
      const victim = children.shift()
      if (victim) await end(victim, 'SIGKILL')
      serve(ledger, env)
    }
    const last = begun(ledger).length
    await until('it goes on', () => begun(ledger).length >= last + 3)
    await Promise.all(children.map((child) => end(child, 'SIGTERM')))
    const ran = [...new Set(slots(ledger))].map(Number).sort((a, b) => a - b)
    const first = ran[0] ?? 0
    // Every second from the first to the last, none left out.
    expect(ran).toEqual(Array.from({ length: ran.length }, (_, i) => first + i * 1000))
    // A slot may have begun twice only where its process was killed before its end.
    const twice = ran.filter((slot) => ended(ledger).filter(({ tag }) => tag === String(slot)).length > 1)
    expect(twice).toEqual([])
  })

  it('run each slot once on a store in Redis though their clocks are 40 s apart, which is longer than a claim', async () => {
    const ledger = newLedger()
    const env = { STORE: 'redis', WHERE: redis.url, RUN_MS: '3000' }
    for (const seconds of [-20, 20]) serve(ledger, { ...env, ...clockOff(seconds) })
    await until('both have run', () => ended(ledger).length >= 8)
    await Promise.all(children.map((child) => end(child, 'SIGTERM')))
    const ran = slots(ledger).map(Number)
    expect(ran.toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: ran.length }, (_, i) => Math.min(...ran) + i * 1000),
    )
    expect(Math.max(...ran)).toBeLessThanOrEqual(Date.now())
  })

  it('take over what a killed process had begun, once its claim has ended', { timeout: 90_000 }, async () => {
    const ledger = newLedger()
    const env = { STORE: 'sqlite', WHERE: join(folder, 'killed.db'), RUN_MS: '60000' }
    const first = serve(ledger, env)
    await until('it runs', () => begun(ledger).length >= 1)
    await end(first, 'SIGKILL')
    const [slot = ''] = slots(ledger)
    serve(ledger, { ...env, RUN_MS: '20' })
    await until('another has run the slot', () => ended(ledger).some(({ tag }) => tag === slot), 40)
    expect(begun(ledger, slot)).toHaveLength(2)
  })
})

describe('a store in Redis', () => {
  it('keeps jobs, their changes, and whose slot it is', async () => {
    const [one, two] = [new RedisJobStore({ url: redis.url }), new RedisJobStore({ url: redis.url })]
    await Promise.all([one.open(), two.open()])
    try {
      const job = {
        id: 'j',
        fn: 'f',
        args: [1, 'ä'],
        trigger: every(10),
        misfireGraceSeconds: 300,
        coalesce: true,
        maxInstances: 2,
        jitterSeconds: 0,
        paused: false,
        nextRunAt: 10_000,
      }
      await one.add(job)
      expect(await two.get('j')).toEqual(job)
      const runs = ['a', 'b', 'c'].map((id) => ({ id, jobId: 'j', slot: 10_000 }))
      // By Redis' clock, whatever the machines of its clients think.
      const terms = { now: 5, leaseMs: 300, maxInstances: 2 }
      expect(await one.claim('j', 10_000, 20_000, runs, terms)).toBe(2)
      expect(await two.claim('j', 10_000, 20_000, runs, terms)).toBeUndefined()
      await two.add({ ...job, nextRunAt: 10_000 })
      expect((await one.list()).map(({ nextRunAt }) => nextRunAt)).toEqual([20_000])
      const take = (): Promise<{ id: string }[]> => two.takeLost({ now: Infinity, leaseMs: 60_000 })
      await one.renew(['b', 'gone'], { now: 0, leaseMs: 60_000 })
      const lost = await until('a claim has ended', async () => [await take()].find(({ length }) => length > 0))
      expect(lost).toEqual([{ id: 'a', jobId: 'j', slot: 10_000 }])
      expect(await take()).toEqual([])
      await two.finish({ id: 'a', jobId: 'j', slot: 10_000 })
      expect(await one.claim('j', 20_000, null, [{ id: 'd', jobId: 'j', slot: 20_000 }], terms)).toBe(1)
      expect(await one.change('j', { paused: true, trigger: every(30), nextRunAt: 30_000 })).toBe(true)
      expect(await two.get('j')).toMatchObject({ paused: true, trigger: every(30), nextRunAt: 30_000 })
      expect(await two.claim('j', 30_000, 60_000, [], terms)).toBeUndefined()
      expect([await one.remove('j'), await one.remove('j'), await one.change('j', { paused: false })]).toEqual([
        true,
        false,
        false,
      ])
    } finally {
      await Promise.all([one.close(), two.close()])
    }
  })
})

describe('a restart', () => {
  it('loses the slots of a bare timer, and none of a Scheduler', { timeout: 60_000 }, async () => {
    const ledger = newLedger()
    const env = { STORE: 'sqlite', WHERE: join(folder, 'restart.db') }
    const first = serve(ledger, env)
    await until('it runs', () => ended(ledger).length >= 2)
    await end(first, 'SIGTERM')
    const last = Math.max(...slots(ledger).map(Number))
    await until('some slots have passed', () => Date.now() > last + 4000)
    serve(ledger, env)
    await until('it has caught up', () => ended(ledger).length >= 6)
    const ran = slots(ledger).map(Number)
    expect(ran).toEqual(Array.from({ length: ran.length }, (_, i) => (ran[0] ?? 0) + i * 1000))
  })
})
