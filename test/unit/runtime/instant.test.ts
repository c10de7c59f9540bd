// eta, expires and countdown: what is accepted, and what is refused rather than guessed.
import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { formatInstant, instantMs, parseInstant, startTime } from '../../../src/runtime/protocol/instant.ts'
import { code } from './support/usage-code.ts'

const NOW = Date.UTC(2026, 10, 25, 12)

describe('parseInstant', () => {
  it.each([
    ['2026-01-31T09:00:00Z', Date.UTC(2026, 0, 31, 9)],
    ['2026-01-31T09:00:00+08:00', Date.UTC(2026, 0, 31, 1)],
    ['2026-01-31T09:00:00.123456-0330', Date.UTC(2026, 0, 31, 12, 30, 0, 123)],
    ['2026-01-31 09:00+00:00', Date.UTC(2026, 0, 31, 9)],
    ['2026-03-29T02:30:00+01:00[Europe/Berlin]', Date.UTC(2026, 2, 29, 1, 30)],
    ['2024-02-29T23:59:59Z', Date.UTC(2024, 1, 29, 23, 59, 59)],
  ])('%s', (text, expected) => {
    expect(parseInstant(text)).toBe(expected)
  })

  it.each(['2026-01-31T09:00:00', '2026-01-31 09:00', '2026-01-31T09:00:00[Europe/Berlin]'])(
    'refuses %s for want of an offset',
    (text) => {
      expect(code(() => parseInstant(text))).toBe('EtaWithoutOffset')
    },
  )

  it.each([
    '',
    'tomorrow',
    '2026-02-30T00:00:00Z',
    '2025-02-29T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-01-01T24:30:00Z',
    '2026-01-01T00:61:00Z',
    '2026-01-01',
    '1795573572',
    '2026-01-01T00:00:00+99:00',
  ])('refuses %s as no instant', (text) => {
    expect(code(() => parseInstant(text))).toBe('EtaInvalid')
  })

  it('reads back whatever it writes', () => {
    fc.assert(
      fc.property(fc.date({ min: new Date(0), max: new Date('2900-01-01'), noInvalidDate: true }), (date) => {
        expect(parseInstant(formatInstant(date.getTime()))).toBe(date.getTime())
      }),
    )
  })
})

describe('instantMs', () => {
  it('takes Dates and Temporal instants', () => {
    expect(instantMs(new Date(NOW))).toBe(NOW)
    expect(instantMs({ epochMilliseconds: NOW })).toBe(NOW)
  })

  it('refuses what has no instant in it', () => {
    const plain = { [Symbol.toStringTag]: 'Temporal.PlainDateTime', toString: () => '2026-01-31T09:00:00' }
    expect(code(() => instantMs(plain))).toBe('EtaWithoutOffset')
    expect(code(() => instantMs(new Date(NaN)))).toBe('EtaInvalid')
    expect(code(() => instantMs(NOW))).toBe('EtaInvalid')
    expect(code(() => instantMs({}))).toBe('EtaInvalid')
    expect(code(() => instantMs(null))).toBe('EtaInvalid')
  })
})

describe('startTime', () => {
  it('is undefined for at once', () => {
    expect(startTime({}, NOW)).toBeUndefined()
  })

  it('adds a countdown to now', () => {
    expect(startTime({ countdown: 1.5 }, NOW)).toBe(NOW + 1500)
  })

  it('refuses both, even when they agree', () => {
    expect(code(() => startTime({ countdown: 0, eta: new Date(NOW) }, NOW))).toBe('EtaAndCountdown')
  })

  it.each([-1, NaN, Infinity])('refuses a countdown of %s', (countdown) => {
    expect(code(() => startTime({ countdown }, NOW))).toBe('CountdownInvalid')
  })

  it('takes more than ten years for a mistake', () => {
    expect(code(() => startTime({ countdown: NOW }, NOW))).toBe('EtaInvalid')
    expect(code(() => startTime({ eta: '2126-01-01T00:00:00Z' }, NOW))).toBe('EtaInvalid')
  })
})
