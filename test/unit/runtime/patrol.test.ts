// The judges of a patrol: looks in, findings out. That the looks are true is in the integration tests.
import { describe, expect, it } from 'vitest'
import type { Answer } from '../../../src/runtime/broker/safety.ts'
import { needsPerson, ordered, type Finding } from '../../../src/runtime/patrol/finding.ts'
import type { Consumer, Look } from '../../../src/runtime/patrol/look.ts'
import { Patrol } from '../../../src/runtime/patrol/patrol.ts'

const LIMITS = { idleQueueSeconds: 3600, stalledSeconds: 20, visibilityTimeoutSeconds: 3600 }
const known = <T>(value: T): Answer<T> => ({ known: true, value })
const WORKER: Consumer = {
  name: 'celery@one',
  python: false,
  queues: ['mail'],
  processed: 5,
  busy: 0,
  slots: 4,
  visibilitySeconds: 3600,
  timeLimitSeconds: undefined,
}

/** A look in which all is well, `seconds` after the first, but for what is given. */
function at(seconds: number, waiting: number, workers: readonly Consumer[], more: Partial<Look> = {}): Look {
  return {
    at: seconds * 1000,
    brokerMs: 1_800_000_000_000 + seconds * 1000,
    safety: { persistent: known(true), evictionPolicy: known('noeviction') },
    depth: { queues: [{ queue: 'mail', waiting, inFlight: 0, parked: 0 }], foreignUnacked: 0 },
    consumers: known(workers),
    settings: new Map(),
    presence: known([]),
    deadLetters: known({ count: 0, newestAt: null }),
    unacked: known({ withoutIndex: 0, oldestSeconds: null }),
    schedules: known([]),
    ...more,
  }
}

/** The codes after each look. */
const codes = (looks: readonly Look[]): string[][] => {
  const patrol = new Patrol(LIMITS)
  return looks.map((look) => patrol.see(look).map(({ code }) => code))
}

describe('a worker is stalled', () => {
  it('once it took nothing beside what waits for as long as is allowed, and not before', () => {
    expect(codes([at(0, 1, [WORKER]), at(10, 2, [WORKER]), at(20, 3, [WORKER]), at(30, 3, [WORKER])])).toEqual([
      [],
      [],
      ['ConsumerStalled'],
      ['ConsumerStalled'],
    ])
  })

  it.each([
    ['ended a task', { ...WORKER, processed: 6 }],
    ['took one up', { ...WORKER, busy: 1 }],
  ])('not when it %s; the time begins anew', (_, moved) => {
    expect(codes([at(0, 1, [WORKER]), at(15, 1, [moved]), at(30, 1, [moved]), at(36, 1, [moved])])).toEqual([
      [],
      [],
      [],
      ['ConsumerStalled'],
    ])
  })

  it('not when every slot is busy, nor when the backlog falls', () => {
    const full = { ...WORKER, busy: 4 }
    expect(codes([at(0, 9, [full]), at(60, 9, [full])])).toEqual([[], []])
    expect(codes([at(0, 9, [WORKER]), at(60, 8, [WORKER])])).toEqual([[], []])
  })

  it('is not known when it does not tell what it did', () => {
    expect(codes([at(0, 1, [{ ...WORKER, processed: undefined }])])).toEqual([['Unknown']])
    // An answer that was too large to be taken.
    expect(codes([at(0, 1, [{ ...WORKER, busy: undefined }]), at(60, 1, [{ ...WORKER, busy: undefined }])])).toEqual([
      ['Unknown'],
      ['Unknown'],
    ])
  })

  it('is forgotten when the broker was away: nobody looked meanwhile', () => {
    const patrol = new Patrol(LIMITS)
    patrol.see(at(0, 1, [WORKER]))
    expect(patrol.blind('it is away')).toMatchObject([{ code: 'Unknown', subject: 'broker' }])
    expect(patrol.see(at(60, 1, [WORKER]))).toEqual([])
  })
})

describe('a queue without a consumer', () => {
  it('is seen twice before it is told', () => {
    expect(codes([at(0, 1, []), at(1, 1, [])])).toEqual([[], ['QueueWithoutConsumer']])
    expect(codes([at(0, 1, []), at(1, 1, [WORKER]), at(2, 1, [])])).toEqual([[], [], []])
  })

  it('is told only after the time in which one is started for it', () => {
    const patrol = new Patrol({ ...LIMITS, startSeconds: new Map([['mail', 300]]) })
    const seen = [0, 30, 299, 300].map((seconds) => patrol.see(at(seconds, 1, [])).map(({ code }) => code))
    expect(seen).toEqual([[], [], [], ['QueueWithoutConsumer']])
  })

  it('is not known while Python workers hold messages: one of pool solo does not answer', () => {
    const depth = { queues: [{ queue: 'mail', waiting: 1, inFlight: 0, parked: 0 }], foreignUnacked: 1 }
    expect(codes([at(0, 1, [], { depth }), at(1, 1, [], { depth })])).toEqual([[], ['Unknown']])
  })

  it('is not known when workers could not be asked', () => {
    const consumers: Look['consumers'] = { known: false, why: 'the broker refuses it' }
    expect(codes([at(0, 1, [], { consumers }), at(1, 1, [], { consumers })])).toEqual([['Unknown'], ['Unknown']])
  })
})

describe('a schedule whose task was sent', () => {
  const tick = { name: 'tick', paused: false, known: true, overdueSeconds: 0, sentSecondsAgo: 60 }
  const seen = (waits: boolean | undefined): string[][] => {
    const schedules = known([{ ...tick, waits }])
    return codes([at(0, 0, [], { schedules }), at(1, 0, [], { schedules })])
  }

  it('is told while that waits, and not known when its queue is too long to be searched', () => {
    expect(seen(true)).toEqual([[], ['ScheduleNotRun']])
    expect(seen(undefined)).toEqual([[], ['Unknown']])
    expect(seen(false)).toEqual([[], []])
  })
})

describe('what stands still', () => {
  it('is told with its workers and since when, for who replaces them', () => {
    const patrol = new Patrol(LIMITS)
    patrol.see(at(0, 1, [WORKER]))
    patrol.see(at(10, 1, [WORKER]))
    expect(patrol.stalled).toEqual([])
    patrol.see(at(20, 1, [WORKER]))
    expect(patrol.stalled).toEqual([{ queue: 'mail', since: 0, workers: [WORKER] }])
    patrol.blind('it is away')
    expect(patrol.stalled).toEqual([])
  })
})

describe('findings', () => {
  const finding = (code: Finding['code'], severity: Finding['severity'], subject: string): Finding => {
    return { code, severity, subject, saw: '', todo: '' }
  }

  it('are told once each, the worst first', () => {
    const [idle, unknown, dead] = [
      finding('ConsumerIdle', 'notice', 'queue a'),
      finding('Unknown', 'unknown', 'broker'),
      finding('DeadLettersGrowing', 'warning', 'dead letters'),
    ]
    expect(ordered([idle, unknown, idle, dead])).toEqual([dead, unknown, idle])
  })

  it('need a person, what could not be asked as well; a notice does not', () => {
    expect(needsPerson([finding('ConsumerIdle', 'notice', 'queue a')])).toBe(false)
    expect(needsPerson([finding('Unknown', 'unknown', 'broker')])).toBe(true)
  })

  it('are of Python workers of the queues that are looked at, not of others at the same broker', () => {
    const long = { ...WORKER, python: true, timeLimitSeconds: 7200 }
    expect(codes([at(0, 0, [long])])).toEqual([['VisibilityTimeoutTooShort']])
    expect(codes([at(0, 0, [{ ...long, queues: ['foreign'] }])])).toEqual([[]])
  })

  it('are of dead letters only while they grow, and for ten minutes', () => {
    const letters = (seconds: number, count: number): Look =>
      at(seconds, 0, [], { deadLetters: known({ count, newestAt: 0 }) })
    expect(codes([letters(0, 3), letters(5, 3), letters(10, 4), letters(60, 4), letters(700, 4)])).toEqual([
      [],
      [],
      ['DeadLettersGrowing'],
      ['DeadLettersGrowing'],
      [],
    ])
  })
})
