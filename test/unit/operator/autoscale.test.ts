import { describe, expect, it } from 'vitest'
import { autoscale } from '../../../src/operator/autoscale.ts'

const spec = { minReplicas: 0, maxReplicas: 20, backlogPerReplica: 50, cooldownSeconds: 300 }
const cold = 300_000

describe('autoscale', () => {
  it.each([
    ['from nothing for one message', 0, { waiting: 1, inFlight: 0 }, 1],
    ['by what waits and what is in flight', 1, { waiting: 100, inFlight: 30 }, 3],
    ['by at most a step', 2, { waiting: 5000, inFlight: 0 }, 6],
    ['by at most as many as there are', 8, { waiting: 5000, inFlight: 0 }, 16],
    ['never beyond maxReplicas', 16, { waiting: 5000, inFlight: 0 }, 20],
  ])('goes up at once %s', (_, current, load, wanted) => {
    expect(autoscale(spec, current, load, 0).replicas).toBe(wanted)
  })

  it('goes down only after the cooldown', () => {
    expect(autoscale(spec, 4, { waiting: 0, inFlight: 0 }, cold - 1).replicas).toBe(4)
    expect(autoscale(spec, 4, { waiting: 0, inFlight: 0 }, cold).replicas).toBe(0)
  })

  it('stops no pod while a task is in flight', () => {
    expect(autoscale(spec, 4, { waiting: 0, inFlight: 1 }, cold).replicas).toBe(4)
  })

  it('keeps minReplicas', () => {
    expect(autoscale({ ...spec, minReplicas: 2 }, 4, { waiting: 0, inFlight: 0 }, cold).replicas).toBe(2)
    expect(autoscale({ ...spec, minReplicas: 2 }, 0, { waiting: 0, inFlight: 0 }, 0).replicas).toBe(2)
  })

  it('holds the number while the broker can not be asked, and says so', () => {
    const decision = autoscale(spec, 7, undefined, cold)
    expect(decision).toMatchObject({ replicas: 7, needed: true })
    expect(decision.why).toContain('can not be asked')
  })

  it('obeys a lowered maxReplicas at once', () => {
    expect(autoscale({ ...spec, maxReplicas: 3 }, 7, { waiting: 0, inFlight: 9 }, 0).replicas).toBe(3)
  })
})
