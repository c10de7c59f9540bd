// The order in which schedules come due, against a plain sort.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DueOrder } from '../../../src/runtime/beat/due-order.ts'

describe('DueOrder', () => {
  it('hands out what is due, the oldest first, whatever was put in when', () => {
    const entries = fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 40 })
    fc.assert(
      fc.property(entries, entries, fc.integer({ min: 0, max: 60 }), (first, later, now) => {
        const order = new DueOrder()
        const all = [...first, ...later].map((dueAt, i) => ({ name: String(i), dueAt }))
        for (const { name, dueAt } of all) order.add(name, dueAt)
        expect(order.nextAt).toBe(all.length > 0 ? Math.min(...all.map(({ dueAt }) => dueAt)) : undefined)
        const taken = order.take(now, Infinity).map((name) => all[Number(name)]?.dueAt ?? NaN)
        const expected = all.map(({ dueAt }) => dueAt).filter((dueAt) => dueAt <= now)
        expect(taken).toEqual(expected.toSorted((a, b) => a - b))
        expect(order.nextAt ?? Infinity).toBeGreaterThan(now)
      }),
    )
  })

  it('hands out no more than asked for, and forgets all when it is cleared', () => {
    const order = new DueOrder()
    order.reset(['a', 'b', 'c'])
    expect(order.take(0, 2)).toHaveLength(2)
    expect(order.nextAt).toBe(-Infinity)
    order.reset([])
    expect(order.take(Infinity, 9)).toEqual([])
  })
})
