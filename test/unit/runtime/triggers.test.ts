// Cron and intervals: slots across daylight-saving changes in four zones, and what is refused.
import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import {
  cronProblem,
  parseCron,
  parseEvery,
  parseSchedules,
  parseSchedulesFile,
} from '../../../src/runtime/triggers/index.ts'
import type { Trigger } from '../../../src/runtime/triggers/index.ts'
import { code } from './support/usage-code.ts'

function slots(trigger: Trigger, from: string, until: string): string[] {
  const found: string[] = []
  for (let at = trigger.next(Date.parse(from)); at !== undefined && at < Date.parse(until); at = trigger.next(at)) {
    found.push(new Date(at).toISOString().slice(0, 16))
  }
  return found
}

describe('cron', () => {
  it('follows a zone without daylight saving', () => {
    expect(slots(parseCron('0 3 * * *', 'Asia/Shanghai'), '2026-03-28T00:00:00Z', '2026-03-30T00:00:00Z')).toEqual([
      '2026-03-28T19:00',
      '2026-03-29T19:00',
    ])
  })

  it('is in UTC when no zone is named, whatever the machine thinks', () => {
    expect(slots(parseCron('0 3 * * *'), '2026-07-01T00:00:00Z', '2026-07-02T00:00:00Z')).toEqual(['2026-07-01T03:00'])
  })

  it('runs a daily job once on the day its time is skipped, right after the gap', () => {
    // Berlin goes from 02:00 to 03:00 on 2026-03-29, New York on 2026-03-08.
    expect(slots(parseCron('30 2 * * *', 'Europe/Berlin'), '2026-03-28T00:00:00Z', '2026-03-31T00:00:00Z')).toEqual([
      '2026-03-28T01:30',
      '2026-03-29T01:00',
      '2026-03-30T00:30',
    ])
    expect(slots(parseCron('30 2 * * *', 'America/New_York'), '2026-03-08T00:00:00Z', '2026-03-10T00:00:00Z')).toEqual([
      '2026-03-08T07:00',
      '2026-03-09T06:30',
    ])
  })

  it('runs a daily job once on the day its time comes twice, the first time', () => {
    // Berlin goes from 03:00 back to 02:00 on 2026-10-25, New York on 2026-11-01.
    expect(slots(parseCron('30 2 * * *', 'Europe/Berlin'), '2026-10-24T12:00:00Z', '2026-10-26T12:00:00Z')).toEqual([
      '2026-10-25T00:30',
      '2026-10-26T01:30',
    ])
    expect(slots(parseCron('30 1 * * *', 'America/New_York'), '2026-10-31T12:00:00Z', '2026-11-02T12:00:00Z')).toEqual([
      '2026-11-01T05:30',
      '2026-11-02T06:30',
    ])
  })

  it('keeps the pace of an hourly job through both changes', () => {
    expect(slots(parseCron('0 * * * *', 'Europe/Berlin'), '2026-03-28T23:30:00Z', '2026-03-29T04:00:00Z')).toEqual([
      '2026-03-29T00:00',
      '2026-03-29T01:00',
      '2026-03-29T02:00',
      '2026-03-29T03:00',
    ])
    expect(slots(parseCron('0 * * * *', 'Europe/Berlin'), '2026-10-24T23:30:00Z', '2026-10-25T04:00:00Z')).toEqual([
      '2026-10-25T00:00',
      '2026-10-25T01:00',
      '2026-10-25T02:00',
      '2026-10-25T03:00',
    ])
  })

  it('knows seconds', () => {
    const trigger = parseCron('*/20 * * * * *')
    expect(trigger.next(Date.UTC(2026, 0, 1))).toBe(Date.UTC(2026, 0, 1, 0, 0, 20))
  })

  it.each([
    ['61 * * * *', 'CronInvalid'],
    ['* * * *', 'CronInvalid'],
    ['', 'CronInvalid'],
    ['every day', 'CronInvalid'],
    ['0 0 31 2 *', 'CronNeverFires'],
  ])('refuses %j as %s', (expression, expected) => {
    expect(code(() => parseCron(expression))).toBe(expected)
    expect(cronProblem(expression)).toContain(JSON.stringify(expression))
  })

  it('refuses a zone that does not exist, and accepts what is right', () => {
    expect(code(() => parseCron('0 3 * * *', 'Europe/Atlantis'))).toBe('ZoneUnknown')
    expect(cronProblem('0 3 * * *', 'Europe/Berlin')).toBeUndefined()
  })
})

describe('intervals', () => {
  it('are anchored to the epoch: the start of a process does not matter', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 86_400 }), fc.integer({ min: 0, max: 2 ** 41 }), (seconds, after) => {
        const slot = parseEvery(seconds).next(after) ?? NaN
        expect(slot % (seconds * 1000)).toBe(0)
        expect(slot).toBeGreaterThan(after)
        expect(slot - after).toBeLessThanOrEqual(seconds * 1000)
      }),
    )
  })

  it.each([0, -5, NaN, Infinity, 1e9])('refuse %s', (seconds) => {
    expect(code(() => parseEvery(seconds))).toBe('IntervalInvalid')
  })
})

describe('schedules', () => {
  const good = { name: 'nightly', task: 'reports.nightly', cron: '0 3 * * *' }

  it('come from YAML, with defaults filled in and the zone of the file', () => {
    const [nightly, sweep] = parseSchedulesFile(`
timeZone: Asia/Shanghai
schedules:
- {name: nightly, task: reports.nightly, cron: "0 3 * * *", misfireGraceSeconds: 60}
- {name: sweep, task: carts.sweep, everySeconds: 30, queue: mail, catchUp: None, args: [1], kwargs: {a: b}}
`)
    expect(nightly).toMatchObject({ name: 'nightly', catchUp: 'Last', misfireGraceSeconds: 60, args: [], kwargs: {} })
    expect(nightly?.trigger.fingerprint).toContain('Asia/Shanghai')
    expect(sweep).toMatchObject({
      queue: 'mail',
      catchUp: 'None',
      misfireGraceSeconds: 300,
      args: [1],
      kwargs: { a: 'b' },
    })
  })

  it('may be none', () => {
    expect(parseSchedulesFile('schedules: []')).toEqual([])
  })

  it.each(['', '# nothing yet', 'schedules:', 'timeZone: Europe/Berlin'])(
    'are refused when the file has no list of them, since it may be half written: %j',
    (text) => expect(() => parseSchedulesFile(text)).toThrow(/"schedules: \[\]" says that there are none/),
  )

  it.each([
    ['no name', { ...good, name: undefined }, /needs a name/],
    ['no task', { ...good, task: undefined }, /needs a task/],
    ['both triggers', { ...good, everySeconds: 3 }, /one of cron, everySeconds and at/],
    ['no trigger', { ...good, cron: undefined }, /one of cron, everySeconds and at/],
    ['a bad cron', { ...good, cron: '99 * * * *' }, /schedule nightly: "99 \* \* \* \*" is no cron expression/],
    ['an interval of nothing', { name: 'a', task: 't', everySeconds: 0 }, /above 0/],
    ['a stray field', { ...good, every: 3 }, /the field every is not known/],
    ['a bad catchUp', { ...good, catchUp: 'Some' }, /Last, All or None/],
    ['a zone that does not exist', { ...good, timeZone: 'Mars/Olympus' }, /Mars\/Olympus/],
    ['a date without an offset', { name: 'a', task: 't', at: '2026-01-31T09:00:00' }, /offset/],
    ['a date that is a number', { name: 'a', task: 't', at: 5 }, /at is text/],
    ['jitter beyond the next slot', { name: 'a', task: 't', everySeconds: 5, jitterSeconds: 6 }, /after the next/],
    ['jitter beyond the next slot of cron', { ...good, cron: '0,5 9 * * *', jitterSeconds: 301 }, /300 s apart/],
    [
      'jitter beyond an hour that is the twentieth',
      { ...good, cron: '0 0-19,23 * * *', jitterSeconds: 3601 },
      /3600 s apart/,
    ],
    ['jitter of seconds', { ...good, cron: '*/10 * * * * *', jitterSeconds: 10.5 }, /10 s apart/],
    ['text as args', { ...good, args: 'a' }, /args is not a list/],
  ])('are refused for %s', (_, schedule, message) => {
    expect(() => parseSchedules([schedule])).toThrow(message)
  })

  it.each([
    [{ ...good, jitterSeconds: 86_400 }],
    // Also in the week in which a day has 23 hours.
    [{ ...good, timeZone: 'Europe/Berlin', jitterSeconds: 86_400 }],
    [{ ...good, cron: '* * * * *', jitterSeconds: 60 }],
    [{ ...good, cron: '*/10 * * * * *', jitterSeconds: 10 }],
    [{ name: 'a', task: 't', at: '2026-01-31T09:00:00Z', jitterSeconds: 86_400 }],
  ])('may have jitter up to their next slot: %j', (schedule) => expect(parseSchedules([schedule])).toHaveLength(1))

  it('are refused for two of one name, and for YAML that is none', () => {
    expect(() => parseSchedules([good, good])).toThrow(/two schedules are named nightly/)
    expect(() => parseSchedulesFile('schedules: [')).toThrow(/not YAML/)
    expect(() => parseSchedulesFile('- a')).toThrow(/not a mapping/)
    expect(() => parseSchedulesFile('cron: x')).toThrow(/a field cron/)
  })
})
