import { describe, expect, it } from 'vitest'
import { fromNamespace } from '../../../src/operator/inspect/inspector.ts'
import { Freshness } from '../../../src/operator/inspect/freshness.ts'

describe('a broker URL, seen from the operator', () => {
  it.each([
    ['redis://redis:6379/0', 'redis://redis.demo.svc:6379/0'],
    ['redis://:pw@redis:6379/0', 'redis://:pw@redis.demo.svc:6379/0'],
    ['rediss://u:p%40w@cache/2', 'rediss://u:p%40w@cache.demo.svc/2'],
    ['sentinel://a:1,b.other:2/0?master_name=m', 'sentinel://a.demo.svc:1,b.other:2/0?master_name=m'],
  ])('names the Service of the TaskQueue: %s', (url, seen) => {
    expect(fromNamespace(url, 'demo')).toBe(seen)
  })

  it.each([
    'redis://redis.other:6379/0',
    'redis://10.0.0.1:6379',
    'redis://[::1]:6379/1',
    'redis://localhost:6379',
    'nonsense',
  ])('stays as it is: %s', (url) => {
    expect(fromNamespace(url, 'demo')).toBe(url)
  })
})

describe('presence', () => {
  it("is stale when its counter has not moved for 30 s of the reader's clock", () => {
    const freshness = new Freshness()
    const entry = (counter: number): { id: string; counter: number } => ({ id: 'a', counter })
    expect(freshness.fresh([entry(1)], 0)).toHaveLength(1)
    expect(freshness.fresh([entry(1)], 29_999)).toHaveLength(1)
    expect(freshness.fresh([entry(1)], 30_000)).toHaveLength(0)
    expect(freshness.fresh([entry(2)], 31_000)).toHaveLength(1)
  })

  it('of a pod that was away counts anew', () => {
    const freshness = new Freshness()
    freshness.fresh([{ id: 'a', counter: 1 }], 0)
    freshness.fresh([], 1000)
    expect(freshness.fresh([{ id: 'a', counter: 1 }], 60_000)).toHaveLength(1)
  })
})
