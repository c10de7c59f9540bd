// What follows from a failed attempt, and how long it waits.
import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { backoffMs } from '../../../src/runtime/broker/backoff.ts'
import { PermanentError, RetryRequest } from '../../../src/runtime/task.ts'
import { judge } from '../../../src/runtime/worker/retry.ts'

const NOW = Date.UTC(2026, 10, 25)
const OPTIONS = {
  maxRetries: 3,
  retryBackoff: 'exponential',
  retryBackoffSeconds: 10,
  retryBackoffMaxSeconds: 60,
  noRetryFor: [],
} as const

describe('backoffMs', () => {
  it('stays between half and all of what doubles up to the cap', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5000 }),
        fc.integer({ min: 1, max: 60_000 }),
        fc.double({ min: 0, max: 0.999999, noNaN: true }),
        (attempt, baseMs, random) => {
          const capMs = 3_600_000
          const full = Math.min(capMs, baseMs * 2 ** (attempt - 1))
          const delay = backoffMs(attempt, { baseMs, capMs }, random)
          expect(delay).toBeGreaterThanOrEqual(Math.floor(full / 2))
          expect(delay).toBeLessThanOrEqual(Math.ceil(full))
        },
      ),
    )
  })

  it('spreads a herd', () => {
    const delays = new Set(Array.from({ length: 50 }, (_, i) => backoffMs(3, { baseMs: 1000, capMs: 60_000 }, i / 50)))
    expect(delays.size).toBe(50)
  })
})

describe('judge', () => {
  it('runs it again with growing delays until the retries are spent', () => {
    const error = new Error('no')
    const delays = [0, 1, 2].map((retries) => {
      const verdict = judge(error, retries, OPTIONS, NOW, 0)
      return verdict.kind === 'retry' ? verdict.dueAt - NOW : verdict.reason
    })
    expect(delays).toEqual([5000, 10_000, 20_000])
    expect(judge(error, 3, OPTIONS, NOW, 0)).toEqual({ kind: 'dead', reason: 'RetriesSpent', error })
  })

  it('keeps a fixed delay when told so', () => {
    const options = { ...OPTIONS, retryBackoff: 'fixed' } as const
    expect([0, 2].map((retries) => judge(new Error('no'), retries, options, NOW, 0.999999))).toMatchObject([
      { dueAt: NOW + 10_000 },
      { dueAt: NOW + 10_000 },
    ])
  })

  it('does not repeat what no repetition cures', () => {
    class Declined extends TypeError {}
    expect(judge(new PermanentError('no'), 0, OPTIONS, NOW, 0)).toMatchObject({ kind: 'dead', reason: 'NotRetried' })
    expect(judge(new Declined('no'), 0, { ...OPTIONS, noRetryFor: [TypeError] }, NOW, 0)).toMatchObject({
      kind: 'dead',
      reason: 'NotRetried',
    })
    expect(judge(new RangeError('no'), 0, { ...OPTIONS, noRetryFor: [TypeError] }, NOW, 0).kind).toBe('retry')
  })

  it('follows ctx.retry(): its time, its limit, its error', () => {
    const cause = new Error('busy')
    expect(judge(new RetryRequest({ countdown: 90, error: cause }), 0, OPTIONS, NOW, 0)).toEqual({
      kind: 'retry',
      dueAt: NOW + 90_000,
      error: cause,
    })
    expect(judge(new RetryRequest({ eta: '2026-11-26T00:00:00Z' }), 0, OPTIONS, NOW, 0)).toMatchObject({
      dueAt: Date.UTC(2026, 10, 26),
    })
    expect(judge(new RetryRequest({ maxRetries: 7 }), 5, OPTIONS, NOW, 0).kind).toBe('retry')
    expect(judge(new RetryRequest({ error: cause }), 3, OPTIONS, NOW, 0)).toEqual({
      kind: 'dead',
      reason: 'RetriesSpent',
      error: cause,
    })
  })

  it('does not retry when there are no retries', () => {
    expect(judge(new Error('no'), 0, { ...OPTIONS, maxRetries: 0 }, NOW, 0).kind).toBe('dead')
  })
})
