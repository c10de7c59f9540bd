// What beat does about a schedule: on time, late, after downtime, seen for the first time, edited, forgotten by the broker.
import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { planSchedule } from '../../../src/runtime/beat/plan.ts'
import type { Cursor } from '../../../src/runtime/broker/store.ts'
import { parseSchedules, type CatchUp, type Schedule } from '../../../src/runtime/triggers/index.ts'

const MINUTE = 60_000
const T0 = Date.UTC(2026, 10, 25, 12)

function minutely(catchUp: CatchUp, misfireGraceSeconds = 300): Schedule {
  const [schedule] = parseSchedules([{ name: 'a', task: 't', everySeconds: 60, catchUp, misfireGraceSeconds }])
  return schedule as Schedule
}

function cursorAt(slot: number, fingerprint = 'every 60000'): Cursor {
  return { slot, firedAt: null, runs: 0, missed: 0, fingerprint }
}

const runs = (plan: ReturnType<typeof planSchedule>): number[] =>
  plan.moves.filter(({ run }) => run).map(({ to }) => to)

const missedIn = (plan: ReturnType<typeof planSchedule>): number =>
  plan.moves.reduce((sum, { missed }) => sum + missed, 0)

/** Plans again and again until nothing is due any more, as beat does. */
function planAll(schedule: Schedule, from: number, now: number) {
  const found = { plans: 0, runs: [] as number[], missed: 0, listed: [] as number[], cursor: from, most: 0 }
  for (let next: number | undefined = now; next !== undefined && next <= now; found.plans++) {
    const broker = cursorAt(found.cursor, schedule.trigger.fingerprint)
    const plan = planSchedule(schedule, { broker, file: undefined }, now)
    found.runs.push(...runs(plan))
    found.missed += missedIn(plan)
    found.most = Math.max(found.most, plan.moves.length)
    for (const { missedSlots } of plan.moves) found.listed.push(...missedSlots)
    found.cursor = plan.moves.at(-1)?.to ?? found.cursor
    next = plan.next
  }
  return found
}

describe('planSchedule', () => {
  it('does nothing before the slot', () => {
    const plan = planSchedule(minutely('Last'), { broker: cursorAt(T0), file: undefined }, T0 + 59_999)
    expect(plan).toMatchObject({ moves: [], next: T0 + MINUTE, aheadMs: 0 })
  })

  it.each(['Last', 'All', 'None'] as const)('runs a slot that is due: %s', (catchUp) => {
    const plan = planSchedule(minutely(catchUp), { broker: cursorAt(T0), file: undefined }, T0 + MINUTE + 5)
    expect(plan).toMatchObject({
      from: T0,
      moves: [{ to: T0 + MINUTE, run: true, missed: 0 }],
      next: T0 + 2 * MINUTE,
    })
  })

  it('after four minutes of downtime Last runs the latest and counts three', () => {
    const plan = planSchedule(minutely('Last'), { broker: cursorAt(T0), file: undefined }, T0 + 4 * MINUTE + 1000)
    const missedSlots = [1, 2, 3].map((i) => T0 + i * MINUTE)
    expect(plan.moves).toEqual([{ to: T0 + 4 * MINUTE, run: true, missed: 3, missedSlots }])
  })

  it('lets the slots of a paused schedule pass: none run, none missed, none owed', () => {
    const known = { broker: cursorAt(T0), file: undefined }
    const plan = planSchedule(minutely('All'), known, T0 + 4 * MINUTE + 1000, true)
    expect(plan).toEqual({
      from: T0,
      moves: [{ to: T0 + 4 * MINUTE, run: false, missed: 0, missedSlots: [] }],
      next: T0 + 5 * MINUTE,
      aheadMs: 0,
    })
    expect(planSchedule(minutely('All'), known, T0 + 1000, true)).toMatchObject({ moves: [], next: T0 + MINUTE })
  })

  it('All runs each within the grace time, and counts the older ones', () => {
    const plan = planSchedule(minutely('All', 120), { broker: cursorAt(T0), file: undefined }, T0 + 5 * MINUTE + 1000)
    expect(plan.moves).toMatchObject([
      { to: T0 + 4 * MINUTE, run: true, missed: 3 },
      { to: T0 + 5 * MINUTE, run: true, missed: 0 },
    ])
  })

  it('None runs only what is not late, but leaves room for a take-over', () => {
    expect(runs(planSchedule(minutely('None'), { broker: cursorAt(T0), file: undefined }, T0 + MINUTE + 9000))).toEqual(
      [T0 + MINUTE],
    )
    const late = planSchedule(minutely('None'), { broker: cursorAt(T0), file: undefined }, T0 + 3 * MINUTE + 11_000)
    expect(late).toMatchObject({ moves: [{ to: T0 + 3 * MINUTE, run: false, missed: 3 }] })
  })

  it('counts all as missed beyond the grace time', () => {
    const plan = planSchedule(minutely('Last', 10), { broker: cursorAt(T0), file: undefined }, T0 + 2 * MINUTE + 11_000)
    expect(plan.moves).toMatchObject([{ to: T0 + 2 * MINUTE, run: false, missed: 2 }])
  })

  it('runs nothing of the past of a schedule it has never seen, and marks the start', () => {
    const plan = planSchedule(minutely('All'), { broker: undefined, file: undefined }, T0 + 30_000)
    expect(plan).toMatchObject({
      from: null,
      moves: [{ to: T0 + 30_000, run: false, missed: 0 }],
      next: T0 + MINUTE,
    })
  })

  it('starts an edited schedule anew', () => {
    const plan = planSchedule(
      minutely('All'),
      { broker: cursorAt(T0, 'every 5000'), file: undefined },
      T0 + 10 * MINUTE,
    )
    expect(plan).toMatchObject({ from: T0, moves: [{ to: T0 + 10 * MINUTE, run: false, missed: 0 }] })
  })

  it('believes the file when the broker has forgotten, so that the day is not run again', () => {
    const plan = planSchedule(minutely('All', 86_400), { broker: undefined, file: cursorAt(T0) }, T0 + MINUTE)
    expect(plan).toMatchObject({ from: null })
    expect(runs(plan)).toEqual([T0 + MINUTE])
  })

  it('believes the later of the two', () => {
    const both = { broker: cursorAt(T0 + MINUTE), file: cursorAt(T0) }
    expect(runs(planSchedule(minutely('All'), both, T0 + 2 * MINUTE))).toEqual([T0 + 2 * MINUTE])
    expect(runs(planSchedule(minutely('All'), { broker: both.file, file: both.broker }, T0 + 2 * MINUTE))).toEqual([
      T0 + 2 * MINUTE,
    ])
  })

  it('owes a date that has just passed when it is first seen, and misses one that is too old', () => {
    const [date] = parseSchedules([{ name: 'a', task: 't', at: new Date(T0).toISOString(), misfireGraceSeconds: 60 }])
    const nothing = { broker: undefined, file: undefined }
    const planAt = (now: number, known = nothing as Parameters<typeof planSchedule>[1]) =>
      planSchedule(date as Schedule, known, now)
    expect(planAt(T0 - 1)).toMatchObject({ moves: [{ to: T0 - 1, run: false, missed: 0 }], next: T0 })
    expect(planAt(T0 + 5000)).toMatchObject({ from: null, moves: [{ to: T0, run: true }], next: undefined })
    expect(planAt(T0 + 61_000)).toMatchObject({ moves: [{ to: T0, run: false, missed: 1, missedSlots: [T0] }] })
    const done = { broker: cursorAt(T0, `at ${T0}`), file: undefined }
    expect(planAt(T0 + 9000, done)).toMatchObject({ moves: [], next: undefined })
  })

  it('misses a date whose name was followed beyond it by another trigger: it may have run already', () => {
    const [date] = parseSchedules([{ name: 'a', task: 't', at: new Date(T0).toISOString() }])
    for (const known of [
      { broker: cursorAt(T0 + 1000, 'every 1000'), file: undefined },
      { broker: undefined, file: cursorAt(T0, 'every 1000') },
    ])
      expect(planSchedule(date as Schedule, known, T0 + 5000)).toMatchObject({
        moves: [{ to: T0 + 5000, run: false, missed: 1, missedSlots: [T0] }],
        next: undefined,
      })
    const earlier = { broker: cursorAt(T0 - 1, 'every 1000'), file: undefined }
    expect(runs(planSchedule(date as Schedule, earlier, T0 + 5000))).toEqual([T0])
  })

  it('says how far a cursor lies in the future, whoever remembers it', () => {
    for (const known of [
      { broker: cursorAt(T0 + MINUTE), file: undefined },
      { broker: cursorAt(T0), file: cursorAt(T0 + MINUTE) },
    ])
      expect(planSchedule(minutely('Last'), known, T0)).toMatchObject({ moves: [], aheadMs: MINUTE })
    const other = { broker: cursorAt(T0 + MINUTE, 'every 5000'), file: undefined }
    expect(planSchedule(minutely('Last'), other, T0)).toMatchObject({ aheadMs: 0 })
  })

  it('waits for the jitter of a slot, which is the same for every beat and is no lateness', () => {
    const parse = (): Schedule =>
      parseSchedules([
        { name: 'a', task: 't', everySeconds: 60, jitterSeconds: 30, misfireGraceSeconds: 1 },
      ])[0] as Schedule
    const jitters = Array.from({ length: 1000 }, (_, i) => parse().jitterMs(T0 + i * MINUTE))
    expect(Math.min(...jitters)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...jitters)).toBeLessThanOrEqual(30_000)
    const mean = jitters.reduce((sum, one) => sum + one, 0) / jitters.length
    expect(Math.abs(mean - 15_000)).toBeLessThan(1500)
    const slot = T0 + MINUTE
    const dueAt = slot + parse().jitterMs(slot)
    const known = { broker: cursorAt(T0), file: undefined }
    expect(planSchedule(parse(), known, dueAt - 1)).toMatchObject({ moves: [], next: dueAt })
    expect(runs(planSchedule(parse(), known, dueAt))).toEqual([slot])
    expect(planSchedule(parse(), known, dueAt + 1001)).toMatchObject({ moves: [{ run: false, missed: 1 }] })
  })

  it.each([
    ['an interval', { everySeconds: 1 }, 1_000_000, 1000],
    ['an interval with jitter', { everySeconds: 1, jitterSeconds: 0.9 }, 100_000, 1000],
    ['seconds of cron', { cron: '*/5 * * * * *' }, 10_000, 5000],
  ])('does not drift: %s, beat a little late each time', (_, trigger, count, periodMs) => {
    const [schedule] = parseSchedules([{ name: 'a', task: 't', catchUp: 'All', ...trigger }])
    const { fingerprint } = (schedule as Schedule).trigger
    const planAt = (now: number) =>
      planSchedule(schedule as Schedule, { broker: cursorAt(cursor, fingerprint), file: undefined }, now)
    let [cursor, seed, wrong] = [T0, 1, 0]
    let { next } = planAt(T0)
    for (let i = 1; i <= count; i++) {
      // A few milliseconds late, as timers and round trips are.
      seed = (seed * 48_271) % 0x7fff_ffff
      const plan = planAt((next ?? NaN) + (seed % 20))
      const [move] = plan.moves
      if (plan.moves.length !== 1 || move?.to !== T0 + i * periodMs || !move.run || missedIn(plan) > 0) wrong += 1
      cursor = move?.to ?? NaN
      next = plan.next
    }
    expect(wrong).toBe(0)
    expect(cursor).toBe(T0 + count * periodMs)
  })

  it.each([
    ['Last', 300, [90 * 86_400_000]],
    ['None', 300, [90 * 86_400_000]],
    ['All', 2, [-2000, -1000, 0].map((back) => 90 * 86_400_000 + back)],
  ] as const)('counts the slots of months without walking over each: %s', (catchUp, grace, expected) => {
    const [schedule] = parseSchedules([
      { name: 'a', task: 't', everySeconds: 1, catchUp, misfireGraceSeconds: grace },
    ]) as [Schedule]
    const months = 90 * 86_400_000
    const found = planAll(schedule, T0, T0 + months)
    expect(found.runs).toEqual(expected.map((after) => T0 + after))
    expect(found.missed).toBe(months / 1000 - expected.length)
    expect(found.plans).toBeLessThan(10)
    // The newest are listed, whatever was skipped.
    const [newest = NaN] = expected
    expect(found.listed.slice(-50)).toEqual(Array.from({ length: 50 }, (_, i) => T0 + newest + (i - 50) * 1000))
  })

  it.each(['Last', 'All', 'None'] as const)('counts the slots of cron one by one, in small parts: %s', (catchUp) => {
    // Half of a night and a day long there is none.
    const cron = { cron: '* * 9 * * *', catchUp, misfireGraceSeconds: catchUp === 'All' ? 60 : 7200 }
    const [schedule] = parseSchedules([{ name: 'a', task: 't', ...cron }]) as [Schedule]
    let asked = 0
    const trigger = {
      ...schedule.trigger,
      next: (after: number): number | undefined => {
        asked += 1
        return schedule.trigger.next(after)
      },
    }
    const counted = { ...schedule, trigger }
    const day = Date.UTC(2026, 10, 25)
    const found = planAll(counted, day, day + 2 * 86_400_000 + 10.5 * 3_600_000)
    expect(asked / found.plans).toBeLessThanOrEqual(502)
    const last = day + 2 * 86_400_000 + 10 * 3_600_000 - 1000
    expect(found.runs).toEqual(catchUp === 'Last' ? [last] : [])
    expect(found.missed + found.runs.length).toBe(3 * 3600)
  })

  it.each([1, 60])(
    'counts every slot of an interval after months, wherever its cursor stands: %s s',
    (everySeconds) => {
      const [schedule] = parseSchedules([{ name: 'a', task: 't', everySeconds }]) as [Schedule]
      const months = 92 * 86_400_000
      const found = planAll(schedule, T0 + 1, T0 + months)
      expect([found.runs, found.missed]).toEqual([[T0 + months], months / 1000 / everySeconds - 1])
    },
  )

  it('tells a broker that was emptied what the file knows, so that the schedule is no new one there', () => {
    const plan = planSchedule(minutely('Last'), { broker: undefined, file: cursorAt(T0) }, T0 + 1000)
    expect(plan).toMatchObject({ from: null, moves: [{ to: T0, run: false, missed: 0 }], next: T0 + MINUTE })
    const ahead = planSchedule(minutely('Last'), { broker: undefined, file: cursorAt(T0) }, T0 - 1)
    expect(ahead).toMatchObject({ moves: [], aheadMs: 1 })
  })

  it('plans a long burst in parts, and loses none of it', () => {
    const [schedule] = parseSchedules([
      { name: 'a', task: 't', everySeconds: 1, catchUp: 'All', misfireGraceSeconds: 86_400 },
    ]) as [Schedule]
    const found = planAll(schedule, T0, T0 + 86_400_000)
    expect(found.runs).toEqual(Array.from({ length: 86_400 }, (_, i) => T0 + (i + 1) * 1000))
    expect([found.missed, found.most]).toEqual([0, 100])
  })

  it('accounts for every slot exactly once, however the turns of beat fall', () => {
    const turns = fc.array(fc.integer({ min: 1, max: 200 * MINUTE }), { minLength: 1, maxLength: 30 })
    fc.assert(
      fc.property(
        fc.constantFrom('Last', 'All', 'None'),
        fc.constantFrom(1, 7, 60),
        fc.integer({ min: 0, max: 600 }),
        fc.boolean(),
        turns,
        (catchUp, everySeconds, misfireGraceSeconds, jitter, gaps) => {
          const jitterSeconds = jitter ? everySeconds : 0
          const [schedule] = parseSchedules([
            { name: 'a', task: 't', everySeconds, catchUp, misfireGraceSeconds, jitterSeconds },
          ]) as [Schedule]
          const first = schedule.trigger.next(T0 - 1) ?? NaN
          let cursor = first - 1
          let now = first
          let accounted = 0
          for (const gap of gaps) {
            now += gap
            const found = planAll(schedule, cursor, now)
            accounted += found.runs.length + found.missed
            cursor = found.cursor
            for (const slot of found.runs)
              expect(now - slot - schedule.jitterMs(slot)).toBeLessThanOrEqual(misfireGraceSeconds * 1000)
            if (catchUp !== 'All') expect(found.runs.length).toBeLessThanOrEqual(1)
          }
          const due = (slot: number): boolean => slot + schedule.jitterMs(slot) <= now
          let slots = 0
          for (let slot = first; due(slot); slot += everySeconds * 1000) slots += 1
          expect(accounted).toBe(slots)
        },
      ),
      { numRuns: 60 },
    )
  })
})
