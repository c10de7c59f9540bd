// The checker is checked: what is planted must be found, and what has a cause must not be blamed.

import { describe, expect, it } from 'vitest'
import { check, type Rule } from '../../faults/history/checker.ts'
import type { Campaign } from '../../faults/history/campaign.ts'
import { expectUnbroken } from '../../faults/history/verdict.ts'
import type { Event, Fault, History, Published, Run, Slot } from '../../faults/history/history.ts'

const published = (id: string, more: Partial<Published> = {}): Published => ({
  what: 'published',
  id,
  kind: 'plain',
  fate: 'acknowledged',
  at: 0,
  ...more,
})
const run = (what: Run['what'], id: string, at: number, more: Partial<Run> = {}): Run => ({
  what,
  id,
  at,
  attempt: 1,
  pid: 1,
  ...more,
})
const whole = (id: string, at: number, more: Partial<Run> = {}): Run[] => [
  run('begin', id, at, more),
  run('end', id, at + 10, more),
]
const fault = (kind: Fault['kind'], from: number, to: number, pids?: number[]): Fault => ({
  what: 'fault',
  kind,
  from,
  to,
  ...(pids ? { pids } : {}),
})
const slot = (at: number, id: string): Slot => ({ what: 'slot', schedule: 's', slot: at, id, attempt: 1, pid: 1, at })

const promises: History['promises'] = {
  later: true,
  retries: true,
  deadLetters: true,
  chords: true,
  beat: true,
  leaseMs: 10_000,
  earlyMs: 2,
  attempts: true,
}

function history(events: Event[], end: Partial<History['end']> = {}, promised = promises): History {
  return {
    events,
    end: { left: 0, dead: [], schedules: [], ...end },
    promises: promised,
    wall: [],
    failures: 2,
    maxAttempts: 2,
  }
}
const broken = (...args: Parameters<typeof history>): Rule[] =>
  check(history(...args)).violations.map(({ rule }) => rule)

describe('what is planted is found:', () => {
  it.each<[string, Rule[], Event[], Partial<History['end']>?]>([
    ['a loss', ['lost'], [published('a'), ...whole('a', 1), published('b')]],
    ['a loss in the middle of the task', ['lost'], [published('a'), run('begin', 'a', 1)]],
    ['a duplicate', ['unexplained duplicate'], [published('a'), ...whole('a', 1), ...whole('a', 50, { pid: 2 })]],
    [
      'a duplicate long after a fault',
      ['unexplained duplicate'],
      [fault('kill worker', 0, 1, [1]), published('a'), ...whole('a', 60_000), ...whole('a', 60_050)],
    ],
    [
      "a duplicate after another process' kill",
      ['unexplained duplicate'],
      [published('a'), ...whole('a', 1), fault('kill worker', 5, 6, [3]), ...whole('a', 50, { pid: 2 })],
    ],
    [
      'a duplicate after a clock was set',
      ['unexplained duplicate'],
      [published('a'), ...whole('a', 1), fault('clock step', 5, 6, [1]), ...whole('a', 50)],
    ],
    ['a job before its time', ['early'], [published('a', { kind: 'later', due: 100 }), ...whole('a', 97)]],
    [
      'a job before its time whose publish was never acknowledged',
      ['early'],
      [published('a', { kind: 'later', due: 100, fate: 'unknown' }), ...whole('a', 50)],
    ],
    [
      'a doubled slot',
      ['doubled slot'],
      [slot(1000, 'x'), slot(1000, 'y'), slot(2000, 'z')],
      { schedules: [{ name: 's', passed: 2, missed: 0 }] },
    ],
    [
      'a slot that nobody accounts for',
      ['unaccounted slot'],
      [slot(1000, 'x')],
      { schedules: [{ name: 's', passed: 3, missed: 1 }] },
    ],
    [
      'a doubled body of a chord',
      ['unexplained duplicate', 'doubled chord body'],
      [
        published('p', { kind: 'part', chord: 'c' }),
        ...whole('p', 1),
        published('b', { kind: 'body', chord: 'c' }),
        ...whole('b', 20),
        ...whole('b', 40),
      ],
    ],
    [
      'a body before its parts',
      ['chord body before its parts'],
      [
        published('p', { kind: 'part', chord: 'c' }),
        ...whole('p', 50),
        published('b', { kind: 'body', chord: 'c' }),
        ...whole('b', 20),
      ],
    ],
    [
      'an attempt too many',
      ['too many attempts'],
      [
        published('a', { kind: 'flaky' }),
        ...[1, 2, 3].flatMap((attempt) => [
          run('begin', 'a', attempt, { attempt }),
          run('threw', 'a', attempt, { attempt }),
        ]),
        ...whole('a', 50, { attempt: 4 }),
      ],
    ],
    [
      'a missing dead letter',
      ['no dead letter'],
      [published('a', { kind: 'doomed' }), run('begin', 'a', 1), run('threw', 'a', 2)],
    ],
    [
      'a loss that was answered before the replica was cut off',
      ['lost'],
      [published('a', { answeredAt: 40 }), { ...fault('promote replica', 50, 90), lostBytes: 5000 }],
    ],
    [
      'more losses than the bytes that the replica had not got',
      ['lost'],
      [
        published('a', { answeredAt: 60 }),
        published('b', { answeredAt: 60 }),
        { ...fault('promote replica', 50, 90), lostBytes: 150 },
      ],
    ],
    ['a backlog that stays', ['not drained'], [published('a'), ...whole('a', 1)], { left: 3 }],
  ])('%s', (_, rules, events, end) => {
    expect(broken(events, end)).toEqual(rules)
  })
})

describe('what has a cause is not blamed:', () => {
  const twice = (...between: Event[]): Event[] => [
    published('a'),
    run('begin', 'a', 1),
    ...between,
    ...whole('a', 50, { pid: 2 }),
  ]

  it.each<[string, Event[], Partial<History['end']>?]>([
    ['a worker that was killed', twice(fault('kill worker', 5, 5, [1]))],
    ['a worker that was stopped', twice(fault('stop worker', 5, 40, [1]))],
    ['a broker that was away', twice(fault('restart broker', 5, 20))],
    ['a publish that was repeated', twice(published('a', { fate: 'unknown' }))],
    ['a job of unknown fate that never ran', [published('a', { fate: 'unknown' })]],
    ['a job that is kept as a dead letter', [published('a')], { dead: ['a'] }],
    [
      'a job that the broker took with it',
      [published('a', { answeredAt: 60 }), { ...fault('promote replica', 50, 90), lostBytes: 5000 }],
    ],
    [
      'a doomed job that the broker took with it',
      [published('a', { kind: 'doomed', answeredAt: 60 }), { ...fault('promote replica', 50, 90), lostBytes: 5000 }],
    ],
    [
      'attempts within the limit',
      [
        published('a', { kind: 'flaky' }),
        run('begin', 'a', 1),
        run('threw', 'a', 2),
        run('begin', 'a', 3, { attempt: 2 }),
        run('threw', 'a', 4, { attempt: 2 }),
        ...whole('a', 5, { attempt: 3 }),
      ],
    ],
    [
      'a slot that ran twice as one message',
      [slot(1000, 'x'), slot(1000, 'x')],
      { schedules: [{ name: 's', passed: 1, missed: 0 }] },
    ],
    ['a slot that is accounted as missed', [slot(1000, 'x')], { schedules: [{ name: 's', passed: 2, missed: 1 }] }],
  ])('%s', (_, events, end) => {
    expect(broken(events, end)).toEqual([])
  })

  it('and a rule about what was never promised is not applied, and said', () => {
    const poor = { ...promises, deadLetters: false, later: false }
    const events = [published('a', { kind: 'doomed' }), published('b', { kind: 'later', due: 100 }), ...whole('b', 1)]
    const verdict = check(history(events, {}, poor))
    expect(verdict.violations).toEqual([])
    expect(verdict.notApplicable).toEqual(['early', 'no dead letter'])
  })
})

it('counts what there was', () => {
  const { counts } = check(
    history([
      published('a'),
      published('b', { fate: 'unknown' }),
      run('begin', 'a', 1),
      fault('kill worker', 2, 3, [1]),
      ...whole('a', 9),
    ]),
  )
  expect(counts).toMatchObject({ published: 1, unknown: 1, executions: 2, explained: 1, faults: 1 })
})

describe('what is due by a clock that was set', () => {
  const sent = published('a', { kind: 'later', at: 1000, answeredAt: 1002, due: 6000 })
  const judged = (moves: readonly (readonly [at: number, movedMs: number])[], began = 5960): Rule[] => {
    const wall = moves.map(([at, movedMs]) => ({ at, movedMs }))
    return check({ ...history([sent, ...whole('a', began)]), wall }).violations.map(({ rule }) => rule)
  }

  it.each<[string, [number, number][], Rule[]]>([
    [
      'ahead by as much while it waited',
      [
        [500, 0],
        [3000, 40],
        [5900, 40],
        [6500, 40],
      ],
      [],
    ],
    [
      'ahead by less while it waited',
      [
        [500, 0],
        [3000, 30],
        [5900, 30],
        [6500, 30],
      ],
      ['early'],
    ],
    [
      'ahead between the last look and its beginning',
      [
        [900, 0],
        [5800, 0],
        [6050, 40],
      ],
      [],
    ],
    [
      'ahead before the first look',
      [
        [2000, 40],
        [6050, 40],
      ],
      ['early'],
    ],
    [
      'ahead after the last look',
      [
        [0, 0],
        [2000, 0],
      ],
      ['early'],
    ],
    [
      'ahead before it was sent, and back after it began',
      [
        [0, 0],
        [500, 40],
        [900, 40],
        [6000, 40],
        [7000, 0],
      ],
      ['early'],
    ],
    [
      'back while it waited',
      [
        [0, 0],
        [900, 0],
        [1100, 0],
        [3000, -40],
        [6500, -40],
      ],
      ['early'],
    ],
    [
      'back and ahead again while it waited',
      [
        [0, 0],
        [900, 0],
        [1100, 0],
        [3000, -40],
        [5000, 0],
        [6500, 0],
      ],
      ['early'],
    ],
  ])('%s', (_, moves, rules) => {
    expect(judged(moves)).toEqual(rules)
  })
})

describe('what was sent twice under one id', () => {
  const twice = [
    published('a', { kind: 'later', at: 0, due: 5000, fate: 'unknown' }),
    published('a', { kind: 'later', at: 3000, due: 8000 }),
  ]

  it('may begin when the first is due, and no sooner', () => {
    expect(broken([...twice, ...whole('a', 5001)])).toEqual([])
    expect(broken([...twice, ...whole('a', 4990)])).toEqual(['early'])
  })
})

describe('what a process had taken and not begun when it was stopped', () => {
  const twice = [published('a'), ...whole('a', 13_000), ...whole('a', 15_500, { pid: 2 })]

  it('may begin in another and then, when it goes on, in that', () => {
    expect(broken([fault('stop worker for long', 2000, 15_400, [2]), ...twice])).toEqual([])
  })

  it('is not explained by what happened to it long before, afterwards, or to others', () => {
    expect(broken([fault('stop worker for long', 0, 2000, [2]), ...twice])).toEqual(['unexplained duplicate'])
    expect(broken([fault('stop worker for long', 15_600, 29_000, [2]), ...twice])).toEqual(['unexplained duplicate'])
    expect(broken([fault('stop worker for long', 2000, 15_400, [3]), ...twice])).toEqual(['unexplained duplicate'])
  })
})

describe('what was on its way when something happened to the broker', () => {
  const sent = (at: number, answeredAt: number): Event[] => [
    published('a', { at, answeredAt }),
    ...whole('a', 90_000),
    ...whole('a', 92_000, { pid: 2 }),
  ]

  it('may be there twice, however long it waits', () => {
    expect(broken([fault('restart broker', 1000, 3000), ...sent(500, 3200)])).toEqual([])
    expect(broken([fault('stop broker', 1000, 3000), ...sent(2000, 4000)])).toEqual([])
  })

  it('is there once when it was answered before, or sent after, or only a worker was met', () => {
    expect(broken([fault('restart broker', 1000, 3000), ...sent(500, 900)])).toEqual(['unexplained duplicate'])
    expect(broken([fault('restart broker', 1000, 3000), ...sent(3100, 3200)])).toEqual(['unexplained duplicate'])
    expect(broken([fault('kill worker', 1000, 3000, [9]), ...sent(500, 3200)])).toEqual(['unexplained duplicate'])
    expect(broken([fault('clock step', 1000, 3000), ...sent(500, 3200)])).toEqual(['unexplained duplicate'])
  })
})

describe('expectUnbroken', () => {
  const campaign = (events: Event[]): Campaign => {
    const of = {
      ...history(events),
      wall: [
        { at: 0, movedMs: 0 },
        { at: 9, movedMs: 1.5 },
      ],
    }
    return { seed: 7, seconds: 1, verdict: check(of), history: of, said: ['a worker: last words'] }
  }

  it('says nothing when nothing is broken', () => {
    const lines: string[] = []
    expectUnbroken(campaign([published('a'), ...whole('a', 1)]), (line) => lines.push(line))
    expect(lines).toEqual([])
  })

  it('counts each rule before it tells a case of each', () => {
    const lines: string[] = []
    const lost = Array.from({ length: 50 }, (_, i) => published(`lost-${i}`))
    const early = [published('a', { kind: 'later', due: 100 }), ...whole('a', 50)]
    expect(() => expectUnbroken(campaign([...lost, ...early]), (line) => lines.push(line))).toThrow(
      /^seed 7 broke 50 of "lost", 1 of "early"; the machine's wall clock moved by 0\.00 to 1\.50 ms.*\nlost: lost-0: .*\nearly: a: /,
    )
    expect(lines).toHaveLength(20 + 1 + 1)
  })
})
