import { describe, expect, it } from 'vitest'
import { autoscale, STEP_MS, type Load } from '../../../src/operator/autoscale.ts'

const spec = { minReplicas: 0, maxReplicas: 20, backlogPerReplica: 50, cooldownSeconds: 300 }
const cold = 300_000
const decide = (
  changes: Partial<typeof spec>,
  current: number,
  load: Load | undefined,
  millisSinceNeeded = 0,
  drained = current,
) =>
  autoscale({ ...spec, ...changes }, current, load, {
    millisSinceNeeded,
    millisSinceStep: Number.POSITIVE_INFINITY,
    drained,
  })

describe('autoscale', () => {
  it.each([
    ['from nothing for one message', 0, { waiting: 1, inFlight: 0 }, 1],
    ['by what waits and what is in flight', 1, { waiting: 100, inFlight: 30 }, 3],
    ['by at most a step', 2, { waiting: 5000, inFlight: 0 }, 6],
    ['by at most as many as there are', 8, { waiting: 5000, inFlight: 0 }, 16],
    ['never beyond maxReplicas', 16, { waiting: 5000, inFlight: 0 }, 20],
  ])('goes up at once %s', (_, current, load, wanted) => {
    expect(decide({}, current, load).replicas).toBe(wanted)
  })

  it('takes the next step only after a while, however often it is asked', () => {
    const load = { waiting: 5000, inFlight: 0 }
    expect(decide({}, 2, load)).toMatchObject({ replicas: 6, againMs: STEP_MS })
    const soon = autoscale(spec, 6, load, { millisSinceNeeded: 0, millisSinceStep: 1000, drained: 0 })
    expect(soon).toMatchObject({ replicas: 6, needed: true, againMs: STEP_MS - 1000 })
    expect(autoscale(spec, 6, load, { millisSinceNeeded: 0, millisSinceStep: STEP_MS, drained: 0 }).replicas).toBe(12)
  })

  it('reaches minReplicas in one step', () => {
    const early = { millisSinceNeeded: 0, millisSinceStep: 0, drained: 0 }
    expect(autoscale({ ...spec, minReplicas: 10 }, 1, { waiting: 0, inFlight: 0 }, early).replicas).toBe(10)
  })

  it('goes down only after the cooldown, and asks to be called again then', () => {
    expect(decide({}, 4, { waiting: 0, inFlight: 0 }, cold - 1)).toMatchObject({ replicas: 4, againMs: 1 })
    expect(decide({}, 4, { waiting: 0, inFlight: 0 }, cold).replicas).toBe(0)
  })

  it('goes down by the pods that have drained, and has the others drain', () => {
    const rest = { waiting: 0, inFlight: 1 }
    expect(decide({}, 4, rest, cold, 0)).toMatchObject({ replicas: 4, excess: 3, needed: false })
    expect(decide({}, 4, rest, cold, 2)).toMatchObject({ replicas: 2, excess: 3 })
    expect(decide({}, 4, rest, cold, 4)).toMatchObject({ replicas: 1, excess: 3 })
    expect(decide({}, 4, rest, cold - 1, 4)).toMatchObject({ replicas: 4 })
    expect(decide({}, 4, rest, cold - 1, 4)).not.toHaveProperty('excess')
  })

  it('keeps minReplicas', () => {
    expect(decide({ minReplicas: 2 }, 4, { waiting: 0, inFlight: 0 }, cold).replicas).toBe(2)
    expect(decide({ minReplicas: 2 }, 0, { waiting: 0, inFlight: 0 }, 0).replicas).toBe(2)
  })

  it('holds the number while the broker can not be asked, and says so', () => {
    const decision = decide({}, 7, undefined, cold)
    expect(decision).toMatchObject({ replicas: 7, needed: true })
    expect(decision.why).toContain('can not be asked')
  })

  it('obeys a lowered maxReplicas at once', () => {
    expect(decide({ maxReplicas: 3 }, 7, { waiting: 0, inFlight: 9 }, 0).replicas).toBe(3)
  })
})
