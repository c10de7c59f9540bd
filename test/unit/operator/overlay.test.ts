import { describe, expect, it } from 'vitest'
import { mergeOverlay } from '../../../src/operator/desired/overlay.ts'

const base = {
  spec: {
    containers: [{ name: 'worker', image: 'a', env: [{ name: 'A', value: '1' }], args: ['x', 'y'] }],
    tolerations: [{ key: 'old' }],
    nodeSelector: { zone: 'a' },
  },
}

describe('a podTemplate overlay', () => {
  it('merges containers by name and their variables by name', () => {
    const merged = mergeOverlay(base, {
      spec: {
        containers: [
          {
            name: 'worker',
            env: [
              { name: 'B', value: '2' },
              { name: 'A', value: '9' },
            ],
          },
          { name: 'proxy', image: 'p' },
        ],
      },
    })
    expect(merged.spec.containers).toEqual([
      {
        name: 'worker',
        image: 'a',
        env: [
          { name: 'A', value: '9' },
          { name: 'B', value: '2' },
        ],
        args: ['x', 'y'],
      },
      { name: 'proxy', image: 'p' },
    ])
  })

  it('replaces lists that have no key, as kubectl does', () => {
    const merged = mergeOverlay(base, {
      spec: { tolerations: [{ key: 'new' }], containers: [{ name: 'worker', args: ['z'] }] },
    })
    expect(merged.spec.tolerations).toEqual([{ key: 'new' }])
    expect(merged.spec.containers[0]?.args).toEqual(['z'])
  })

  it('removes a field on null and merges maps by key', () => {
    const merged = mergeOverlay(base, { spec: { tolerations: null, nodeSelector: { disk: 'ssd' } } })
    expect(merged.spec).not.toHaveProperty('tolerations')
    expect(merged.spec.nodeSelector).toEqual({ zone: 'a', disk: 'ssd' })
  })

  it('leaves both of its arguments as they were', () => {
    const before = JSON.stringify(base)
    mergeOverlay(base, { spec: { containers: [{ name: 'worker', image: 'b' }] } })
    expect(JSON.stringify(base)).toBe(before)
  })
})
