import { describe, expect, it } from 'vitest'
import { Cache } from '../../../src/operator/kube/cache.ts'
import type { KubeObject } from '../../../src/operator/objects.ts'

const object = (name: string, resourceVersion: string, uid = `uid-${name}`): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'demo', uid, resourceVersion },
})
const cache = (): Cache<KubeObject> =>
  new Cache(
    () => 'demo/orders',
    () => undefined,
  )

describe('a cache', () => {
  it('passes over the late answer to a write when the object is gone since', () => {
    const pods = cache()
    pods.upsert(object('a', '10'))
    pods.remove(object('a', '12'))
    // The answer to a deletion may carry the very version of the end.
    for (const version of ['11', '12']) pods.upsert(object('a', version))
    expect(pods.get('demo/a')).toBeUndefined()
    expect(pods.ownedBy('demo/orders')).toEqual([])
  })

  it('does so when a list was what told of its end', () => {
    const pods = cache()
    pods.upsert(object('a', '10'))
    pods.replace([], '', '20')
    pods.upsert(object('a', '15'))
    expect(pods.size).toBe(0)
  })

  it('takes the same object back that only left the selection', () => {
    const pods = cache()
    pods.upsert(object('a', '10'))
    pods.remove(object('a', '12'))
    pods.upsert(object('a', '13'))
    expect(pods.get('demo/a')?.metadata.resourceVersion).toBe('13')
  })

  it('keeps a successor of the same name when the end of the old one is told late', () => {
    const pods = cache()
    pods.upsert(object('a', '10', 'old'))
    pods.upsert(object('a', '20', 'new'))
    pods.remove(object('a', '15', 'old'))
    expect(pods.get('demo/a')?.metadata.uid).toBe('new')
  })

  it('tells nobody of what it knows already', () => {
    const told: string[] = []
    const pods = new Cache<KubeObject>(
      () => 'demo/orders',
      (owner) => void told.push(owner),
    )
    pods.upsert(object('a', '10'))
    pods.upsert(object('a', '10'))
    expect(told).toHaveLength(1)
  })

  it('keeps the newer of two states', () => {
    const pods = cache()
    pods.upsert(object('a', '20'))
    pods.upsert(object('a', '19'))
    expect(pods.get('demo/a')?.metadata.resourceVersion).toBe('20')
  })
})
