// Writes at once: so many and no more, and nothing left under way when one fails.
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { atOnce } from '../../../src/operator/atonce.ts'

describe('atOnce', () => {
  it('does all of them, so many at a time', async () => {
    let [active, most] = [0, 0]
    const done: number[] = []
    await atOnce([1, 2, 3, 4, 5], 2, async (item) => {
      most = Math.max(most, ++active)
      await delay(1)
      active--
      done.push(item)
    })
    expect(most).toBe(2)
    expect(done.toSorted()).toEqual([1, 2, 3, 4, 5])
  })

  it('throws the first error once those under way have ended, and begins no other', async () => {
    const ended: number[] = []
    const run = atOnce([1, 2, 3], 2, async (item) => {
      if (item === 1) throw new Error('one')
      await delay(5)
      ended.push(item)
    })
    await expect(run).rejects.toThrow('one')
    expect(ended).toEqual([2])
  })
})
