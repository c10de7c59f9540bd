// Which dead letters the flags of `taskqueue dead` mean.
import { describe, expect, it } from 'vitest'
import { deadFilter } from '../../../src/runtime/cli/dead-filter.ts'

const NOW = Date.parse('2026-11-25T12:00:00Z')
const letter = { task: 'shop.charge', queue: 'orders', reason: 'RetriesSpent', diedAt: NOW - 3_600_000 }

describe('a filter of dead letters', () => {
  it('is none without a flag', () => {
    expect(deadFilter({ json: true, limit: '50' }, NOW)).toBeUndefined()
  })

  it.each([
    [{ task: 'shop.charge' }, true],
    [{ task: 'shop' }, false],
    [{ queue: 'orders', reason: 'RetriesSpent' }, true],
    [{ queue: 'orders', reason: 'NotJson' }, false],
    [{ since: '60m' }, true],
    [{ since: '59m' }, false],
    [{ before: '1h' }, false],
    [{ before: '3599s' }, true],
    [{ since: '2026-11-25T11:00:00Z', before: '2026-11-25T11:00:00.001Z' }, true],
    [{ since: '2026-11-26' }, false],
  ])('%j takes the letter: %s', (flags, takes) => {
    expect(deadFilter(flags, NOW)?.(letter)).toBe(takes)
  })

  it.each(['yesterday', '', '5', '5w', '2026-99-99'])('refuses %j as a time', (since) => {
    expect(() => deadFilter({ since }, NOW)).toThrow(/--since is an instant .* got/)
  })
})
