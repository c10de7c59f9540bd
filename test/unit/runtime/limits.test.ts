// Rate limits and revocations, on a clock of the test's own.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseRate } from '../../../src/runtime/protocol/rate.ts'
import { RateLimits } from '../../../src/runtime/worker/rate-limits.ts'
import { MOST_REVOKED, REVOKED_FOR_MS, Revocations } from '../../../src/runtime/worker/revocations.ts'

describe('a rate', () => {
  it.each([
    ['10/s', 100],
    ['100/m', 600],
    ['2/h', 1_800_000],
    ['0.5', 2000],
    ['0', 0],
  ])('is read as Celery reads it: %s', (text, gapMs) => {
    expect(parseRate(text)).toBe(gapMs)
  })

  it.each(['', 'often', '10/d', '-1/s', '1/s/s'])('is refused: %j', (text) => {
    expect(() => parseRate(text)).toThrow(/such as 10\/s/)
  })
})

describe('a rate limit', () => {
  it('lets one begin, and gives each of those that wait a turn of its own', () => {
    const limits = new RateLimits()
    limits.set('t', '10/s')
    expect([limits.wait('t', 1000), limits.wait('t', 1000), limits.wait('t', 1000)]).toEqual([0, 100, 200])
    expect(limits.wait('other', 1000)).toBe(0)
    expect(limits.wait('t', 1100)).toBe(0)
  })

  it('can be taken away', () => {
    const limits = new RateLimits()
    limits.set('t', '1/h')
    limits.wait('t', 0)
    limits.set('t', '0')
    expect(limits.wait('t', 1)).toBe(0)
    expect(limits.of('t')).toBeUndefined()
  })

  it('is never broken, however tasks arrive, and wastes no more than a turn', () => {
    const arrivals = fc.array(fc.integer({ min: 0, max: 5000 }), { minLength: 1, maxLength: 50 })
    fc.assert(
      fc.property(arrivals, (times) => {
        const limits = new RateLimits()
        limits.set('t', '10/s')
        // Who has to wait comes again when its turn has come.
        const waiting = times.toSorted((a, b) => a - b)
        const begun: number[] = []
        while (waiting.length > 0) {
          const now = waiting.shift() ?? 0
          const wait = limits.wait('t', now)
          if (wait === 0) begun.push(now)
          else waiting.splice(waiting.findLastIndex((at) => at <= now + wait) + 1, 0, now + wait)
        }
        expect(begun).toHaveLength(times.length)
        begun.slice(1).forEach((at, i) => expect(at - (begun[i] ?? 0)).toBeGreaterThanOrEqual(100))
        expect((begun.at(-1) ?? 0) - Math.max(...times)).toBeLessThanOrEqual(times.length * 100)
      }),
      { numRuns: 300 },
    )
  })
})

describe('revoked ids', () => {
  it('are known for three hours, and no more than 50,000 of them', () => {
    const revoked = new Revocations()
    revoked.add(['old'], 0)
    expect([revoked.has('old', REVOKED_FOR_MS - 1), revoked.has('old', REVOKED_FOR_MS)]).toEqual([true, false])
    revoked.add(
      Array.from({ length: MOST_REVOKED + 5 }, (_, n) => `id-${n}`),
      1,
    )
    expect(revoked.has('old', 2)).toBe(false)
    expect(revoked.has('id-4', 2)).toBe(false)
    expect(revoked.has('id-5', 2)).toBe(true)
    expect(revoked.list(2)).toHaveLength(MOST_REVOKED)
  })
})
