// The pool of volumes: a folder is wiped only when no volume object leads to it, and offered again once its claim is gone.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { persistentVolume, planRecycling, volumeNames, type SeenVolume } from '../../../deploy/local/volumes.ts'

const pool = { folder: '/srv/volumes', nodeName: 'local', count: 3 }
const seen = (name: string, phase: string, deleting = false): SeenVolume => ({ name, phase, deleting })

describe('planRecycling', () => {
  it('makes all of an empty pool', () => {
    expect(planRecycling(pool, [])).toEqual({ remove: [], make: ['local-001', 'local-002', 'local-003'] })
  })

  it('first deletes a volume whose claim is gone, and makes it anew only when it is not there any more', () => {
    const others = [seen('local-001', 'Bound'), seen('local-003', 'Available')]
    expect(planRecycling(pool, [...others, seen('local-002', 'Released')])).toEqual({ remove: ['local-002'], make: [] })
    expect(planRecycling(pool, [...others, seen('local-002', 'Released', true)])).toEqual({ remove: [], make: [] })
    expect(planRecycling(pool, others)).toEqual({ remove: [], make: ['local-002'] })
  })

  it('never wipes a folder to which a volume leads, nor deletes one that is used, free or new', () => {
    const phase = fc.constantFrom('Available', 'Bound', 'Pending', 'Released', 'Failed')
    const volume = fc.record({
      name: fc.constantFrom(...volumeNames(pool), 'of-someone-else'),
      phase,
      deleting: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.uniqueArray(volume, { selector: ({ name }) => name }), (volumes) => {
        const { make, remove } = planRecycling(pool, volumes)
        for (const { name } of volumes) expect(make).not.toContain(name)
        for (const name of remove)
          expect(['Released', 'Failed']).toContain(volumes.find((each) => each.name === name)?.phase)
        expect(remove).not.toContain('of-someone-else')
      }),
    )
  })
})

describe('persistentVolume', () => {
  it('leads to its own folder on the one node', () => {
    expect(persistentVolume(pool, 'local-002')).toMatchObject({
      metadata: { name: 'local-002' },
      spec: {
        local: { path: '/srv/volumes/local-002' },
        nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [{ values: ['local'] }] }] } },
      },
    })
  })
})
