// What a beat tells of steps whose reply was lost, that came too late or that were refused: every missed slot, and none too early.
import { describe, expect, it } from 'vitest'
import { Cursors } from '../../../src/runtime/beat/cursors.ts'
import { Dispatcher } from '../../../src/runtime/beat/dispatcher.ts'
import { Leadership } from '../../../src/runtime/beat/leadership.ts'
import { SlotLog } from '../../../src/runtime/beat/slot-log.ts'
import { BrokerClock } from '../../../src/runtime/broker/broker-clock.ts'
import type { AdvanceOutcome, Cursor, CursorAdvance, Store } from '../../../src/runtime/broker/store.ts'
import { BrokerError } from '../../../src/runtime/errors.ts'
import { createRegistry } from '../../../src/runtime/health/task-metrics.ts'
import { createLog } from '../../../src/runtime/log.ts'
import { parseSchedules } from '../../../src/runtime/triggers/index.ts'
import { TimerClock } from '../../fixtures/timer-clock.ts'

const START = Date.UTC(2026, 10, 25, 12)
const NOTHING_PAUSED = new Set<string>()
const EVERY = { task: 't', everySeconds: 10, catchUp: 'All', misfireGraceSeconds: 25 }

/** What the broker does about a step. */
type Answer = (advance: CursorAdvance, make: () => AdvanceOutcome) => AdvanceOutcome

/** A dispatcher whose schedules stood still for 100 s, on a broker that answers as the test says. */
async function scene(answer: Answer, names: readonly string[] = ['a'], planningMs = 0) {
  const clock = new TimerClock(START)
  let early = 0
  const lines: Record<string, unknown>[] = []
  const log = createLog({
    destination: { write: (text: string) => void lines.push(JSON.parse(text) as Record<string, unknown>) },
  })
  const schedules = parseSchedules(names.map((name) => ({ name, ...EVERY })))
  const fingerprint = 'every 10000'
  const broker = new Map<string, Cursor>(
    names.map((name) => [name, { slot: START - 100_000, firedAt: null, runs: 0, missed: 0, fingerprint }]),
  )
  const store = {
    acquireLease: (_name: string, holder: string) => Promise.resolve({ held: true, token: 1, holder }),
    readCursors: () => Promise.resolve(new Map(broker)),
    removeCursors: () => Promise.resolve(),
    advanceCursor: async (_beat: string, _lease: unknown, advance: CursorAdvance) => {
      await Promise.resolve()
      return answer(advance, () => {
        const before = broker.get(advance.schedule)
        if (before?.slot !== advance.from) return 'stale'
        const { to: slot, missed } = advance
        broker.set(advance.schedule, { ...before, slot, missed: before.missed + missed, fingerprint })
        return 'advanced'
      })
    },
  } as unknown as Store
  const brokerClock = new BrokerClock(clock)
  const leadership = new Leadership(store, clock, 'beat:test', 'me')
  await leadership.look()
  const slots = new SlotLog(log, createRegistry(), { leader: () => true, held: () => false, schedules: () => 1 })
  const dispatcher = new Dispatcher({
    ...{ name: 'test', store, log, clock, brokerClock, leadership, slots },
    cursors: new Cursors({ name: 'test', store, file: undefined, log, clock }),
    prepare: ({ name }, slot) => {
      clock.jump(planningMs)
      if (name === 'refused' && slot === START) throw new RangeError('too big')
      return { queue: 'q', priority: 0, raw: '{}' }
    },
    onEarly: () => (early += 1),
  })
  const turn = async (enough: () => boolean = () => false): Promise<void> => {
    if (!dispatcher.known) await dispatcher.learn(schedules)
    await dispatcher.fire(NOTHING_PAUSED, enough)
  }
  const told = (event: string): unknown[] =>
    lines
      .filter((line) => line['event'] === event)
      .map((line) => (Date.parse(String(line['scheduledFor'])) - START) / 1000)
  return { clock, dispatcher, broker, turn, told, lines, slots, leadership, early: () => early }
}

const MISSED = [-90, -80, -70, -60, -50, -40, -30]

describe('a beat', () => {
  it('tells what was missed once its step was made, though a later step of the same turn was too late', async () => {
    let steps = 0
    const { turn, told } = await scene((_advance, make) => ((steps += 1) === 2 ? 'stale' : make()))
    await turn()
    expect([told('job-missed'), told('schedule-fired')]).toEqual([MISSED, [-20]])
    await turn()
    expect([told('job-missed'), told('schedule-fired')]).toEqual([MISSED, [-20, -10, 0]])
  })

  it('tells it once when the step was made and the reply was lost', async () => {
    let steps = 0
    const { turn, told, broker, slots } = await scene((_advance, make) => {
      const outcome = make()
      if ((steps += 1) === 1) throw new BrokerError('BrokerUnreachable', 'the line is dead')
      return outcome
    })
    await expect(turn()).rejects.toThrow('the line is dead')
    expect(told('job-missed')).toEqual([])
    await turn()
    expect([told('job-missed'), told('schedule-fired')]).toEqual([MISSED, [-20, -10, 0]])
    expect([broker.get('a')?.missed, slots.missed, slots.runs]).toEqual([7, 7, 3])
  })

  it('tells nothing of a step that was not made', async () => {
    let steps = 0
    const { turn, told } = await scene((_advance, make) => {
      if ((steps += 1) === 1) throw new BrokerError('BrokerTimeout', 'it never arrived')
      return make()
    })
    await expect(turn()).rejects.toThrow('it never arrived')
    await turn()
    expect([told('job-missed'), told('schedule-fired')]).toEqual([MISSED, [-20, -10, 0]])
  })

  it('tells it rather twice than never when another beat has moved on meanwhile', async () => {
    const { turn, told, broker } = await scene((_advance, make) => {
      make()
      const now = broker.get('a')
      if (now) broker.set('a', { ...now, slot: START })
      throw new BrokerError('BrokerUnreachable', 'the line is dead')
    })
    await expect(turn()).rejects.toThrow('the line is dead')
    await turn()
    expect([told('job-missed'), told('schedule-fired')]).toEqual([MISSED, []])
  })

  it("tells of a slot that the app refuses once the cursor has passed it, and of the others' as ever", async () => {
    const { turn, told } = await scene((_advance, make) => make(), ['refused'])
    await turn()
    expect([told('job-missed'), told('schedule-fired')]).toEqual([
      [...MISSED, 0],
      [-20, -10],
    ])
  })

  it('lets the other schedules go on when the broker refuses one, and says so once, until it is over', async () => {
    let refuse = true
    const { clock, turn, told, lines, dispatcher } = await scene(
      ({ schedule }, make) => {
        if (refuse && schedule === 'b') throw new BrokerError('BrokerRefused', 'WRONGTYPE')
        return make()
      },
      ['a', 'b', 'c'],
    )
    await turn()
    await clock.advance(1000)
    await turn()
    expect(lines.filter(({ event }) => event === 'schedule-failed')).toMatchObject([{ schedule: 'b' }])
    expect([...dispatcher.problems]).toEqual([['b', 'WRONGTYPE']])
    expect(told('schedule-fired')).toHaveLength(6)
    refuse = false
    await clock.advance(1000)
    await turn()
    expect(lines.filter(({ event }) => event === 'schedule-recovered')).toMatchObject([{ schedule: 'b' }])
    expect([dispatcher.problems.size, told('schedule-fired').length]).toEqual([0, 9])
  })

  it('takes one step at least of each schedule, and leaves the rest of a burst when it has to look around', async () => {
    let steps = 0
    const { clock, turn, told, lines } = await scene(
      (_advance, make) => {
        steps += 1
        return make()
      },
      ['a', 'b'],
    )
    await turn(() => steps >= 2)
    expect(steps).toBeLessThan(6)
    expect(new Set(lines.map(({ schedule }) => schedule)).size).toBe(2)
    await clock.advance(1)
    await turn()
    expect([steps, told('schedule-fired').length]).toEqual([6, 6])
  })

  it('lets the others go on when the cursor of one is not what was read, reads once more, and then says so', async () => {
    const names = Array.from({ length: 250 }, (_, i) => `s${i}`)
    const { clock, turn, told, lines, dispatcher } = await scene(
      ({ schedule }, make) => (schedule === 's249' ? 'stale' : make()),
      names,
    )
    await turn()
    expect([told('schedule-fired').length, dispatcher.known]).toEqual([249 * 3, false])
    await turn()
    expect(lines.filter(({ event }) => event === 'schedule-failed')).toMatchObject([
      { schedule: 's249', error: { code: 'CursorMoved' } },
    ])
    expect([...dispatcher.problems.keys(), dispatcher.known]).toEqual(['s249', true])
    await clock.advance(500)
    await turn()
    expect([told('schedule-fired').length, dispatcher.known]).toEqual([249 * 3, true])
  })

  it.each(['fenced', 'early'] as const)(
    'fires nothing more once a step is %s, until it has looked around',
    async (why) => {
      let steps = 0
      const { turn, told, leadership, dispatcher, early } = await scene((_advance, make) => {
        steps += 1
        return steps === 2 ? why : make()
      })
      await turn()
      expect([steps, told('schedule-fired').length, dispatcher.known]).toEqual([2, 1, false])
      expect([leadership.standing, early()]).toEqual(why === 'fenced' ? ['standby', 0] : ['leader', 1])
      await leadership.look()
      await turn()
      expect(told('schedule-fired')).toEqual([-20, -10, 0])
    },
  )

  it('tells nothing of a step that the broker refused, when it finds later that another beat was there', async () => {
    const { turn, told, broker, dispatcher } = await scene(() => {
      throw new BrokerError('BrokerRefused', 'WRONGTYPE')
    })
    await turn()
    const now = broker.get('a')
    if (now) broker.set('a', { ...now, slot: START })
    dispatcher.doubt()
    await turn()
    expect([told('job-missed'), told('schedule-fired')]).toEqual([[], []])
    expect(dispatcher.problems.size).toBe(0)
  })

  it('finds out what became of a step whose reply was lost when it ends', async () => {
    const { turn, told, dispatcher } = await scene((_advance, make) => {
      make()
      throw new BrokerError('BrokerUnreachable', 'the line is dead')
    })
    await expect(turn()).rejects.toThrow('the line is dead')
    await dispatcher.settle()
    await dispatcher.settle()
    expect([told('job-missed'), told('schedule-fired')]).toEqual([MISSED, [-20]])
  })

  it('lets the event loop turn while it plans for long', async () => {
    const names = Array.from({ length: 90 }, (_, i) => `s${i}`)
    const { turn } = await scene((_advance, make) => make(), names, 25)
    let turned = 0
    let others = setImmediate(function again() {
      turned += 1
      others = setImmediate(again)
    })
    await turn()
    clearImmediate(others)
    expect(turned).toBeGreaterThan(50)
  })

  it('leaves the rest for another turn when planning takes a slow machine so long that the lease would end', async () => {
    const names = Array.from({ length: 90 }, (_, i) => `s${i}`)
    const { clock, turn, broker } = await scene((_advance, make) => make(), names, 300)
    const began = clock.monotonic()
    await turn(() => true)
    // A second, and the plans that were begun in it: each step makes some messages.
    expect(clock.monotonic() - began).toBeLessThan(2_500)
    const stood = [...broker.values()].filter(({ slot }) => slot === START - 100_000).length
    expect(stood).toBeGreaterThan(80)
    expect(stood).toBeLessThan(90)
  })
})
