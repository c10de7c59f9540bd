// Which pods of a pool may go: never one that works, in the order in which a ReplicaSet takes them.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { drainPlan, isMarked, isShrinking } from '../../../src/operator/drain.ts'
import type { PodPresence } from '../../../src/operator/inspect/observation.ts'
import type { LiveDeployment, LivePod } from '../../../src/operator/objects.ts'

interface Told {
  readonly busy?: number
  readonly draining?: boolean
  readonly ready?: boolean
  readonly silent?: boolean
  readonly phase?: string
  readonly age?: number
}

const pod = (name: string, { ready = true, phase = 'Running', age = 0 }: Told): LivePod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, uid: name, creationTimestamp: new Date(Date.UTC(2026, 0, 1) - age * 1000).toISOString() },
  spec: { containers: [] },
  status: {
    phase,
    conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
    containerStatuses: phase === 'Pending' ? [] : [{ name: 'worker', state: { running: {} } }],
  },
})
const presence = (name: string, { busy = 0, draining = false }: Told): PodPresence => ({
  ...{ podUid: name, kind: 'worker', offsetSeconds: 0, busySlots: busy, slots: 4 },
  detail: draining ? { draining } : {},
})

function plan(pool: Record<string, Told>, excess: number, resting = false): { draining: string[]; drained: string[] } {
  const pods = Object.entries(pool).map(([name, told]) => pod(name, told))
  const said = Object.entries(pool).flatMap(([name, told]) => (told.silent ? [] : [presence(name, told)]))
  const { draining, drained } = drainPlan(pods, said, excess, resting)
  const names = (list: readonly LivePod[]): string[] => list.map(({ metadata }) => metadata.name)
  return { draining: names(draining), drained: names(drained) }
}

describe('drainPlan', () => {
  it('has the idle drain before the busy, and the youngest first of those', () => {
    const pool = { a: { busy: 1, age: 9 }, b: { busy: 0 }, c: { busy: 2, age: 1 } }
    expect(plan(pool, 2)).toEqual({ draining: ['b', 'c'], drained: [] })
    expect(plan(pool, 0)).toEqual({ draining: [], drained: [] })
  })

  it('stays with those that drain already, lets go those that have, and turns from a busy one to one that is idle', () => {
    const pool = { a: { busy: 1 }, b: { busy: 1, draining: true }, c: { busy: 0, draining: true } }
    expect(plan(pool, 2)).toEqual({ draining: ['c', 'b'], drained: ['c'] })
    expect(plan({ ...pool, a: { busy: 0 } }, 2)).toEqual({ draining: ['c', 'a'], drained: ['c'] })
  })

  it('lets no idle pod go that has not said that it takes nothing any more', () => {
    expect(plan({ a: { busy: 0 } }, 1, true).drained).toEqual([])
  })

  it('lets a pod that says nothing go only when nothing is in flight, and one that has not begun at once', () => {
    const pool = { a: { silent: true }, b: { busy: 1 } }
    expect(plan(pool, 2).drained).toEqual([])
    expect(plan(pool, 2, true).drained).toEqual(['a'])
    expect(plan({ ...pool, c: { ready: false, phase: 'Pending', silent: true } }, 2).drained).toEqual(['c'])
  })

  it('counts on nothing of a pod whose worker has crashed and waits to begin again', () => {
    const crashed = pod('x', { ready: false })
    crashed.status = { ...crashed.status, containerStatuses: [{ name: 'worker', state: { waiting: {} } }] }
    const said = [presence('a', { draining: true }), presence('b', { busy: 1 })]
    const { drained } = drainPlan([crashed, pod('a', {}), pod('b', {})], said, 2, false)
    expect(drained.map(({ metadata }) => metadata.name)).toEqual(['x', 'a'])
  })

  it('lets none go while a pod that is not ready may work: its ReplicaSet would take that one', () => {
    const pool = { a: { busy: 0, draining: true }, b: { busy: 1, draining: true, ready: false } }
    expect(plan(pool, 2)).toEqual({ draining: ['b', 'a'], drained: [] })
    expect(plan({ ...pool, b: { busy: 0, draining: true, ready: false } }, 2).drained).toEqual(['b', 'a'])
  })

  it('never lets a busy pod go, whatever the pool', () => {
    const told = fc.record({
      busy: fc.integer({ min: 0, max: 2 }),
      draining: fc.boolean(),
      ready: fc.boolean(),
      silent: fc.boolean(),
      age: fc.integer({ min: 0, max: 5 }),
    })
    fc.assert(
      fc.property(fc.array(told, { maxLength: 6 }), fc.integer({ min: 0, max: 7 }), (list, excess) => {
        const pool = Object.fromEntries(list.map((one, i) => [`p${i}`, one]))
        const { draining, drained } = plan(pool, excess)
        expect(draining).toHaveLength(Math.min(excess, list.length))
        for (const name of drained) expect(pool[name]).toMatchObject({ busy: 0, draining: true, silent: false })
        // What the ReplicaSet takes, which prefers the unready and then the marked, is what was meant.
        const order = Object.keys(pool).toSorted(
          (a, b) =>
            Number(pool[a]?.ready ?? false) - Number(pool[b]?.ready ?? false) ||
            Number(drained.includes(b)) - Number(drained.includes(a)),
        )
        expect(order.slice(0, drained.length).toSorted()).toEqual(drained.toSorted())
      }),
    )
  })
})

describe('a mark', () => {
  it('is the cost by which a ReplicaSet chooses, and holds while it has still to choose', () => {
    const marked = pod('a', {})
    marked.metadata.annotations = { 'controller.kubernetes.io/pod-deletion-cost': '-100' }
    expect([isMarked(marked), isMarked(pod('b', {}))]).toEqual([true, false])
    const deployment = (wanted: number, there: number, seen = 1): LiveDeployment =>
      ({
        metadata: { name: 'd', generation: 1 },
        spec: { replicas: wanted },
        status: { replicas: there, observedGeneration: seen },
      }) as LiveDeployment
    expect(isShrinking(deployment(2, 3))).toBe(true)
    expect(isShrinking(deployment(3, 3, 0))).toBe(true)
    expect(isShrinking(deployment(3, 3))).toBe(false)
  })
})
