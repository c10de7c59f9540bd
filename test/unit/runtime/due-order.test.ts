// The order in which schedules come due, against a plain sort.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DueOrder } from '../../../src/runtime/beat/due-order.ts'

function takeAll(order: DueOrder, now: number): string[] {
  const taken: string[] = []
  for (let name = order.take(now); name !== undefined; name = order.take(now)) taken.push(name)
  return taken
}

describe('DueOrder', () => {
  it('hands out what is due, the oldest first, whatever was put in when', () => {
    const entries = fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 40 })
    fc.assert(
      fc.property(entries, entries, fc.integer({ min: 0, max: 60 }), (first, later, now) => {
        const order = new DueOrder()
        const all = [...first, ...later].map((dueAt, i) => ({ name: String(i), dueAt }))
        for (const { name, dueAt } of all) order.add(name, dueAt)
        expect(order.nextAt).toBe(all.length > 0 ? Math.min(...all.map(({ dueAt }) => dueAt)) : undefined)
        const taken = takeAll(order, now).map((name) => all[Number(name)]?.dueAt ?? NaN)
        const expected = all.map(({ dueAt }) => dueAt).filter((dueAt) => dueAt <= now)
        expect(taken).toEqual(expected.toSorted((a, b) => a - b))
        expect(order.nextAt ?? Infinity).toBeGreaterThan(now)
      }),
    )
  })

  it('hands out all at once after a reset, and forgets what it had', () => {
    const order = new DueOrder()
    order.add('old', 5)
    order.reset(['a', 'b', 'c'])
    expect(order.nextAt).toBe(-Infinity)
    expect(takeAll(order, 0).toSorted()).toEqual(['a', 'b', 'c'])
    order.reset([])
    expect(order.take(Infinity)).toBeUndefined()
  })
})
