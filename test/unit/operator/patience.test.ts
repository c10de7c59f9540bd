import { describe, expect, it } from 'vitest'
import { Patience } from '../../../src/operator/patience.ts'

describe('patience', () => {
  it('lets a status wait while others wait, for two seconds at most, and then anew', () => {
    const patience = new Patience()
    expect(patience.waits('demo/a', true, 1_000)).toBe(true)
    expect(patience.waits('demo/a', true, 2_999)).toBe(true)
    expect(patience.waits('demo/a', true, 3_000)).toBe(false)
    expect(patience.waits('demo/a', true, 3_001)).toBe(true)
    expect(patience.waits('demo/a', true, 5_000)).toBe(true)
  })

  it('lets none wait that is alone, and begins anew after that', () => {
    const patience = new Patience()
    expect(patience.waits('demo/a', false, 0)).toBe(false)
    expect(patience.waits('demo/a', true, 1_000)).toBe(true)
    expect(patience.waits('demo/a', false, 1_500)).toBe(false)
    expect(patience.waits('demo/a', true, 3_500)).toBe(true)
  })

  it('knows TaskQueues apart, and forgets', () => {
    const patience = new Patience()
    expect(patience.waits('demo/a', true, 0)).toBe(true)
    expect(patience.waits('demo/b', true, 1_500)).toBe(true)
    expect(patience.waits('demo/a', true, 2_000)).toBe(false)
    expect(patience.waits('demo/b', true, 2_000)).toBe(true)
    patience.forget('demo/b')
    expect(patience.waits('demo/b', true, 9_000)).toBe(true)
  })
})
