// The broker's clock as a process knows it, and whether it and the machine's agree well enough to fire.
import { describe, expect, it } from 'vitest'
import { skewProblem } from '../../../src/runtime/beat/clock-guard.ts'
import { BrokerClock } from '../../../src/runtime/broker/broker-clock.ts'

const limit = { maxSkewSeconds: 60, onSkew: 'HoldBeat' } as const

describe('skewProblem', () => {
  it.each([
    [null, null],
    [59.9, 0],
    [-60, 0],
    // What the measurement may be wrong by counts in favour of the clocks.
    [61, 1.5],
  ])('finds nothing wrong with %s s, known to %s s', (seconds, errorSeconds) => {
    expect(skewProblem({ seconds, errorSeconds }, limit)).toBeUndefined()
  })

  it.each([
    [61, 'ahead of'],
    [-75.25, 'behind'],
  ])('says which way a clock that is %s s off goes', (seconds, way) => {
    const problem = skewProblem({ seconds, errorSeconds: 0.01 }, limit)
    expect(problem).toContain(`${Math.round(Math.abs(seconds))} s ${way}`)
    expect(problem).toContain('limit is 60 s')
  })

  it('lets a skew that was beyond the limit go only well within it', () => {
    const at = (seconds: number, skewed: boolean): boolean =>
      skewProblem({ seconds, errorSeconds: 0 }, limit, skewed) !== undefined
    expect([at(58, false), at(58, true), at(-54.5, true), at(53.9, true), at(-53.9, true)]).toEqual([
      false,
      true,
      true,
      false,
      false,
    ])
  })
})

describe('BrokerClock', () => {
  it("is not moved by a step of the machine's clock, and tells the offset as it was measured", () => {
    let [wall, monotonic] = [1_000_000, 50]
    const clock = { now: () => wall, monotonic: () => monotonic, after: () => ({ cancel: () => undefined }) }
    const brokerClock = new BrokerClock(clock)
    expect(brokerClock.now()).toBe(1_000_000)
    expect(brokerClock.offset).toEqual({ seconds: null, errorSeconds: null })
    brokerClock.correct({ brokerMs: 940_000, offsetMs: 60_000, errorMs: 2 })
    expect(brokerClock.now()).toBe(940_000)
    wall += 3_600_000
    monotonic += 1500
    expect(brokerClock.now()).toBe(941_500)
    expect(brokerClock.offset).toEqual({ seconds: 60, errorSeconds: 0.002 })
  })
})
