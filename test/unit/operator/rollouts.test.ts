import { describe, expect, it } from 'vitest'
import type { LiveDeployment } from '../../../src/operator/objects.ts'
import { Rollouts } from '../../../src/operator/rollouts.ts'

const deployment = (generation: number, image: string, changes: Partial<LiveDeployment['status']> = {}, replicas = 2) =>
  ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'a', namespace: 'demo', generation },
    spec: { replicas, selector: {}, template: { spec: { containers: [{ name: 'worker', image }] } } },
    status: { observedGeneration: generation, replicas: 2, updatedReplicas: 2, readyReplicas: 2, ...changes },
  }) satisfies LiveDeployment

describe('a rollout', () => {
  it('begins with a template that its controller has not seen, and ends with the last old pod', () => {
    const rollouts = new Rollouts()
    const rolling = (live: LiveDeployment): boolean => rollouts.rolling('demo/orders', [live]).has('a')
    expect(rolling(deployment(1, 'x:1'))).toBe(false)
    expect(rolling(deployment(2, 'x:2', { observedGeneration: 1 }))).toBe(true)
    expect(rolling(deployment(2, 'x:2', { replicas: 3, updatedReplicas: 1 }))).toBe(true)
    expect(rolling(deployment(2, 'x:2'))).toBe(false)
  })

  it('is not what a new number of pods is', () => {
    const rollouts = new Rollouts()
    rollouts.rolling('demo/orders', [deployment(1, 'x:1')])
    const scaled = deployment(2, 'x:1', { observedGeneration: 1 }, 1)
    expect(rollouts.rolling('demo/orders', [scaled]).size).toBe(0)
    rollouts.forget('demo/orders')
    // Nothing is known any more: then it may be one.
    expect(rollouts.rolling('demo/orders', [scaled]).size).toBe(1)
  })
})
