// The in-process Scheduler, on a clock that the test moves.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, describe, expect, it } from 'vitest'
import { createLog } from '../../../src/runtime/log.ts'
import type { JobStore } from '../../../src/runtime/scheduler/job-store.ts'
import { MemoryJobStore } from '../../../src/runtime/scheduler/memory-store.ts'
import { Scheduler, type SchedulerOptions } from '../../../src/runtime/scheduler/scheduler.ts'
import { SqliteJobStore } from '../../../src/runtime/scheduler/sqlite-store.ts'
import { at, cron, every } from '../../../src/runtime/scheduler/triggers.ts'
import { TimerClock } from '../../fixtures/timer-clock.ts'

const START = Date.parse('2026-01-31T00:00:00Z')
const folder = mkdtempSync(join(tmpdir(), 'taskqueue-scheduler-'))
let files = 0
const opened: Scheduler[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((one) => one.shutdown({ wait: false })))
})
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))

const stores: [string, () => JobStore][] = [
  ['memory', () => new MemoryJobStore()],
  ['SQLite', () => new SqliteJobStore(join(folder, `jobs-${++files}.db`))],
]

interface Scene {
  readonly clock: TimerClock
  readonly scheduler: Scheduler
  readonly lines: Record<string, unknown>[]
}

function scene(store: JobStore, clock = new TimerClock(START), options: SchedulerOptions = {}): Scene {
  const lines: Record<string, unknown>[] = []
  const destination = { write: (text: string) => void lines.push(JSON.parse(text) as Record<string, unknown>) }
  const scheduler = new Scheduler({ store, clock, log: createLog({ destination }), random: () => 0.5, ...options })
  opened.push(scheduler)
  return { clock, scheduler, lines }
}

describe.each(stores)('a Scheduler on %s', (_name, makeStore) => {
  it('runs each slot once, at its time', async () => {
    const { clock, scheduler } = scene(makeStore())
    const ran: string[] = []
    const note = (ctx: { jobId: string; scheduledFor: Date }): void =>
      void ran.push(`${ctx.jobId} ${ctx.scheduledFor.toISOString().slice(11, 19)}`)
    scheduler.register('note', note)
    await scheduler.addJob('note', every(20), { id: 'often' })
    await scheduler.addJob('note', cron('1 0 * * *', { timeZone: 'UTC' }), { id: 'daily' })
    await scheduler.addJob('note', at(new Date(START + 30_000)), { id: 'once' })
    await scheduler.start()
    await clock.advance(65_000)
    expect(ran).toEqual(['often 00:00:20', 'once 00:00:30', 'often 00:00:40', 'often 00:01:00', 'daily 00:01:00'])
    expect((await scheduler.getJobs()).map(({ id, nextRunTime }) => [id, nextRunTime?.toISOString()])).toEqual([
      ['often', '2026-01-31T00:01:20.000Z'],
      ['daily', '2026-02-01T00:01:00.000Z'],
      ['once', undefined],
    ])
  })

  it('tells what a job throws, and runs its next slot all the same', async () => {
    const { clock, scheduler, lines } = scene(makeStore())
    const heard: unknown[] = []
    scheduler.register('bad', () => {
      throw new TypeError('no')
    })
    scheduler.on('error', ({ jobId, error }) => heard.push([jobId, error.message]))
    await scheduler.addJob('bad', every(10))
    await scheduler.start()
    await clock.advance(21_000)
    expect(heard).toEqual([
      ['bad', 'no'],
      ['bad', 'no'],
    ])
    expect(lines.filter(({ event }) => event === 'job-error')).toMatchObject([
      { job: 'bad', error: { type: 'TypeError', stack: expect.stringContaining('scheduler.test.ts') as string } },
      { job: 'bad' },
    ])
  })

  it('does not overlap a job with itself beyond maxInstances', async () => {
    const { clock, scheduler } = scene(makeStore())
    const left: unknown[] = []
    let end = (): void => undefined
    let running = 0
    scheduler.register('slow', async () => {
      running += 1
      await new Promise<void>((resolve) => (end = resolve))
      running -= 1
    })
    scheduler.on('maxInstances', ({ scheduledFor }) => left.push(scheduledFor.toISOString().slice(11, 19)))
    await scheduler.addJob('slow', every(10))
    await scheduler.start()
    await clock.advance(21_000)
    expect([running, left]).toEqual([1, ['00:00:20']])
    end()
    await clock.advance(10_000)
    expect(running).toBe(1)
    end()
  })

  it('passes over what is too late, and runs the latest of what is not', async () => {
    const { clock, scheduler } = scene(makeStore())
    const ran: string[] = []
    const missed: string[] = []
    const time = (date: Date): string => date.toISOString().slice(11, 19)
    scheduler.register('note', (ctx) => void ran.push(time(ctx.scheduledFor)))
    scheduler.on('missed', ({ scheduledFor }) => missed.push(time(scheduledFor)))
    await scheduler.addJob('note', every(60), { misfireGraceSeconds: 90 })
    // The machine sleeps: nobody looks for five minutes.
    clock.jump(300_500)
    await scheduler.start()
    await clock.advance(0)
    expect(ran).toEqual(['00:05:00'])
    expect(missed).toEqual(['00:01:00', '00:02:00', '00:03:00', '00:04:00'])
  })

  it.each([true, false])('tells of every slot that was missed in an hour, coalesced %s', async (coalesce) => {
    const { clock, scheduler } = scene(makeStore())
    let [missed, ran, left] = [0, 0, 0]
    scheduler.register('note', () => void (ran += 1))
    scheduler.on('missed', ({ count }) => void (missed += count))
    scheduler.on('maxInstances', () => void (left += 1))
    await scheduler.addJob('note', every(1), { misfireGraceSeconds: 5, coalesce })
    clock.jump(3_600_000)
    await scheduler.start()
    await clock.advance(0)
    expect(missed + ran + left).toBe(3600)
    expect([missed, ran]).toEqual(coalesce ? [3599, 1] : [3594, 1])
  })

  it('pauses, resumes, reschedules and removes', async () => {
    const { clock, scheduler } = scene(makeStore())
    const ran: string[] = []
    scheduler.register('note', (ctx) => void ran.push(ctx.scheduledFor.toISOString().slice(14, 19)))
    await scheduler.addJob('note', every(10))
    await scheduler.start()
    await scheduler.pauseJob('note')
    await clock.advance(35_000)
    await scheduler.resumeJob('note')
    await clock.advance(6_000)
    await scheduler.rescheduleJob('note', every(30))
    await clock.advance(30_000)
    await scheduler.removeJob('note')
    await clock.advance(60_000)
    expect(ran).toEqual(['00:40', '01:00'])
    await expect(scheduler.removeJob('note')).rejects.toMatchObject({ code: 'JobUnknown' })
  })

  it('keeps the next slot, and the pause, of a job that is added again', async () => {
    const { clock, scheduler } = scene(makeStore())
    scheduler.register('note', () => undefined)
    await scheduler.addJob('note', every(10))
    await scheduler.start()
    await clock.advance(10_000)
    const again = await scheduler.addJob('note', every(10), { misfireGraceSeconds: 5 })
    expect(again.nextRunTime?.getTime()).toBe(START + 20_000)
    await scheduler.pauseJob('note')
    expect((await scheduler.addJob('note', every(10))).paused).toBe(true)
    expect((await scheduler.addJob('note', every(30))).trigger).toEqual({ kind: 'every', seconds: 30 })
    expect((await scheduler.resumeJob('note')).nextRunTime?.getTime()).toBe(START + 30_000)
  })

  it('puts runs off by jitter, and waits for them when it is shut down', async () => {
    const { clock, scheduler } = scene(makeStore())
    const ran: number[] = []
    scheduler.register('note', () => void ran.push(clock.now() - START))
    await scheduler.addJob('note', every(10), { jitterSeconds: 4 })
    await scheduler.start()
    await clock.advance(12_500)
    expect(ran).toEqual([12_000])
  })
})

describe('a store that outlives the process', () => {
  it('knows its jobs after a restart, owes what came due, and keeps a job whose function is gone', async () => {
    const path = join(folder, 'restart.db')
    const clock = new TimerClock(START)
    const first = scene(new SqliteJobStore(path), clock)
    first.scheduler.register('kept', () => undefined)
    first.scheduler.register('gone', () => undefined)
    await first.scheduler.addJob('kept', every(60))
    await first.scheduler.addJob('gone', every(60))
    await first.scheduler.shutdown()
    clock.jump(61_000)
    const second = scene(new SqliteJobStore(path), clock)
    const ran: unknown[] = []
    const missed: unknown[] = []
    second.scheduler.register('kept', (ctx) => void ran.push(ctx.scheduledFor.toISOString().slice(11, 19)))
    second.scheduler.on('missed', ({ jobId, reason }) => missed.push([jobId, reason]))
    await second.scheduler.start()
    await clock.advance(0)
    expect(ran).toEqual(['00:01:00'])
    expect(missed).toEqual([['gone', expect.stringContaining('no function is registered as gone') as string]])
    expect((await second.scheduler.getJobs()).map(({ id }) => id).sort()).toEqual(['gone', 'kept'])
  })

  it('gives each slot to one of several schedulers', async () => {
    const path = join(folder, 'shared.db')
    const clock = new TimerClock(START)
    const ran: string[] = []
    const scenes = Array.from({ length: 4 }, () => scene(new SqliteJobStore(path), clock))
    for (const [i, { scheduler }] of scenes.entries()) {
      scheduler.register('note', (ctx) => void ran.push(`${ctx.scheduledFor.toISOString().slice(14, 19)} ${i}`))
      await scheduler.addJob('note', every(5))
      await scheduler.start()
    }
    await clock.advance(60_500)
    expect(ran.map((line) => line.slice(0, 5))).toEqual(
      Array.from({ length: 12 }, (_, i) => new Date((i + 1) * 5000).toISOString().slice(14, 19)),
    )
  })

  it('runs again what a lost process had claimed, or tells that it is too late', async () => {
    const path = join(folder, 'lost.db')
    const clock = new TimerClock(START)
    const store = new SqliteJobStore(path)
    const { scheduler } = scene(store, clock)
    const ran: string[] = []
    const missed: string[] = []
    scheduler.register('note', (ctx) => void ran.push(ctx.jobId))
    scheduler.on('missed', ({ jobId }) => missed.push(jobId))
    await scheduler.addJob('note', every(3600), { id: 'soon' })
    await scheduler.addJob('note', every(3600), { id: 'late', misfireGraceSeconds: 1 })
    // What a process leaves that was killed between its claim and the end of its run.
    for (const id of ['soon', 'late'])
      await store.claim(id, START + 3_600_000, START + 7_200_000, [{ id: `run-${id}`, jobId: id, slot: START }], {
        now: START,
        leaseMs: 5000,
        maxInstances: 1,
      })
    await scheduler.start()
    await clock.advance(4_000)
    expect([ran, missed]).toEqual([[], []])
    await clock.advance(2_000)
    expect([ran, missed]).toEqual([['soon'], ['late']])
    await clock.advance(30_000)
    expect(ran).toEqual(['soon'])
  })

  it('leaves a run that waits for its jitter to the next process when it ends', async () => {
    const path = join(folder, 'left.db')
    const clock = new TimerClock(START)
    const ran: string[] = []
    const missed: string[] = []
    const one = (): Scheduler => {
      const { scheduler } = scene(new SqliteJobStore(path), clock)
      scheduler.on('missed', ({ reason }) => missed.push(reason))
      scheduler.register('note', (ctx) => void ran.push(ctx.scheduledFor.toISOString().slice(11, 19)))
      return scheduler
    }
    const first = one()
    await first.addJob('note', at(new Date(START + 1000)), { id: 'once', jitterSeconds: 20 })
    await first.start()
    await clock.advance(2000)
    await first.shutdown()
    expect([ran, missed]).toEqual([[], []])
    await one().start()
    await clock.advance(40_000)
    expect(ran).toEqual(['00:00:01'])
  })

  it('does not take its own run for a lost one when it was stopped for longer than its claim', async () => {
    const clock = new TimerClock(START)
    const { scheduler, lines } = scene(new SqliteJobStore(join(folder, 'stopped.db')), clock)
    let began = 0
    let end = (): void => undefined
    scheduler.register('slow', async () => {
      began += 1
      await new Promise<void>((resolve) => (end = resolve))
    })
    await scheduler.addJob('slow', at(new Date(START + 1000)), { id: 'slow' })
    await scheduler.start()
    await clock.advance(2000)
    clock.jump(60_000)
    await clock.advance(3000)
    expect([began, lines.filter(({ event }) => event === 'job-taken-over')]).toEqual([1, []])
    end()
  })

  it('refuses a function without a name, and options that mean nothing', async () => {
    const { scheduler } = scene(new SqliteJobStore(join(folder, 'refused.db')))
    await expect(scheduler.addJob(() => undefined, every(1))).rejects.toMatchObject({ code: 'FunctionNotRegistered' })
    await expect(scheduler.addJob('nobody', every(1))).rejects.toMatchObject({ code: 'FunctionNotRegistered' })
    scheduler.register('note', () => undefined)
    await expect(scheduler.addJob('note', every(1), { maxInstances: 0 })).rejects.toMatchObject({
      code: 'OptionInvalid',
    })
    expect(() => every(0)).toThrow(expect.objectContaining({ code: 'IntervalInvalid' }))
    expect(() => cron('0 0 30 2 *')).toThrow(expect.objectContaining({ code: 'CronNeverFires' }))
    expect(() => at('2026-01-31T09:00:00')).toThrow(expect.objectContaining({ code: 'EtaWithoutOffset' }))
  })
})

describe('the end of a Scheduler', () => {
  it.each([true, false])('begins no run that waits for its jitter, and tells of it: wait %s', async (wait) => {
    const { clock, scheduler } = scene(new MemoryJobStore())
    let ran = 0
    const missed: string[] = []
    scheduler.on('missed', ({ reason }) => missed.push(reason))
    await scheduler.addJob(() => void (ran += 1), every(10), { id: 'late', jitterSeconds: 3600, maxInstances: 9 })
    await scheduler.start()
    await clock.advance(25_000)
    await scheduler.shutdown({ wait })
    expect([ran, missed]).toEqual([0, Array(2).fill(expect.stringContaining('jitter')) as string[]])
  })
})

describe('a store that is slow or away', () => {
  it('that can not be opened is closed, so that nothing of it holds the process', async () => {
    let open = 0
    class Refusing extends MemoryJobStore {
      override open(): Promise<void> {
        open += 1
        return Promise.resolve()
      }
      time(): Promise<never> {
        return Promise.reject(new Error('no right to TIME'))
      }
      override close(): Promise<void> {
        open -= 1
        return Promise.resolve()
      }
    }
    const { scheduler } = scene(new Refusing())
    await expect(scheduler.start()).rejects.toThrow('no right to TIME')
    expect(open).toBe(0)
  })

  it('is looked at by one loop, however often the scheduler is started at once', async () => {
    let turns = 0
    const { clock, scheduler } = scene(
      new (class extends MemoryJobStore {
        override readonly shared = true as never
        override takeLost(): Promise<[]> {
          turns += 1
          return Promise.resolve([])
        }
      })(),
    )
    await Promise.all([scheduler.start(), scheduler.start(), scheduler.start()])
    await clock.advance(5500)
    expect(turns).toBe(6)
    await scheduler.shutdown()
    await clock.advance(5000)
    expect(turns).toBe(6)
  })

  it('is opened again after it could not be', async () => {
    const { scheduler } = scene(
      new (class extends MemoryJobStore {
        #opened = 0
        override open(): Promise<void> {
          return (this.#opened += 1) === 1 ? Promise.reject(new Error('away')) : Promise.resolve()
        }
      })(),
    )
    await expect(scheduler.start()).rejects.toThrow('away')
    await scheduler.start()
    expect(await scheduler.getJobs()).toEqual([])
  })

  it('is looked at by one turn at a time, however often jobs change meanwhile', async () => {
    let turns = 0
    let go = (): void => undefined
    const { clock, scheduler } = scene(
      new (class extends MemoryJobStore {
        override async takeLost(): Promise<[]> {
          turns += 1
          if (turns === 1) await new Promise<void>((resolve) => (go = resolve))
          return []
        }
      })(),
    )
    const ran: string[] = []
    scheduler.register('note', (ctx) => void ran.push(ctx.jobId))
    await scheduler.start()
    await clock.advance(0)
    expect(turns).toBe(1)
    for (const id of ['a', 'b', 'c']) await scheduler.addJob('note', every(10), { id })
    await clock.advance(0)
    expect(turns).toBe(1)
    go()
    await clock.advance(1)
    // What was added is seen at once, and one turn follows for each slot.
    expect(turns).toBe(2)
    await clock.advance(20_000)
    expect([turns, ran]).toEqual([4, ['a', 'b', 'c', 'a', 'b', 'c']])
  })

  it('in a new SQLite file is opened while another process makes it', async () => {
    const path = join(folder, 'new.db')
    const other = new DatabaseSync(path)
    other.exec('BEGIN IMMEDIATE; CREATE TABLE theirs (id TEXT)')
    const store = new SqliteJobStore(path)
    const opening = store.open()
    setTimeout(() => other.exec('COMMIT'), 30)
    await opening
    expect(await store.list()).toEqual([])
    await store.close()
    other.close()
  })
})
