// The table that knows the slots of held deliveries, beside a Map that is given the same.

import { describe, expect, it } from 'vitest'
import { NumberTable } from '../../../src/runtime/broker/redis/number-table.ts'

/** Numbers from a seed, so that a failure comes again. */
function seeded(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

const sorted = (entries: Iterable<[number, number]>): [number, number][] => [...entries].toSorted(([a], [b]) => a - b)

describe('a number table', () => {
  // The first keys lie far apart and collide; the last grow one by one, as numbers of tags do, past 32 bits.
  it.each([
    [1, 1, 40],
    [2, 64, 30],
    [3, 4096, 100],
    [4, 1, 1000],
    [5, 2 ** 33, 60],
  ])('holds what a Map holds, whatever is put in and taken out (seed %i, stride %i, %i held)', (seed, stride, most) => {
    const below = seeded(seed)
    const [table, map] = [new NumberTable(), new Map<number, number>()]
    let next = 0
    for (let step = 0; step < 20_000; step++) {
      if (map.size < most && below(2) === 0) {
        next += 1
        table.set(next * stride, step)
        map.set(next * stride, step)
      } else {
        // Now and then one that is not there.
        const key = below(20) === 0 ? next * stride + 1 : ([...map.keys()][below(map.size)] ?? 7)
        expect(table.get(key)).toBe(map.get(key))
        table.delete(key)
        map.delete(key)
      }
      expect(table.size).toBe(map.size)
      if (step % 500 === 0) expect(sorted(table.entries())).toEqual(sorted(map))
    }
    for (const key of map.keys()) expect(table.get(key)).toBe(map.get(key))
    for (const key of map.keys()) table.delete(key)
    expect([...table.entries()]).toEqual([])
  })

  it('replaces a value', () => {
    const table = new NumberTable()
    table.set(5, 1)
    table.set(5, 2)
    expect([table.size, table.get(5), table.get(6)]).toEqual([1, 2, undefined])
  })
})
