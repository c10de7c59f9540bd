import { describe, expect, it } from 'vitest'
import { difference, quantity } from '../../../src/operator/difference.ts'
import type { KubeObject } from '../../../src/operator/objects.ts'

type Thing = KubeObject & { spec: Record<string, unknown> }
const thing = (spec: Record<string, unknown>, metadata: Partial<KubeObject['metadata']> = {}): Thing => ({
  apiVersion: 'v1',
  kind: 'Thing',
  metadata: { name: 'a', ...metadata },
  spec,
})

describe('the difference between desired and live', () => {
  it('is none when others only added to what we want', () => {
    const desired = thing(
      { containers: [{ name: 'worker', env: [{ name: 'A', value: '1' }] }] },
      { labels: { ours: '1' } },
    )
    const live = thing(
      {
        containers: [
          { name: 'injected' },
          {
            name: 'worker',
            env: [
              { name: 'X', value: '0' },
              { name: 'A', value: '1' },
            ],
            terminationMessagePath: '/dev/x',
          },
        ],
        schedulerName: 'default-scheduler',
      },
      { labels: { ours: '1', theirs: '2' } },
    )
    expect(difference(desired, live, 'us')).toBeUndefined()
  })

  it('names the path of a value that was changed by hand', () => {
    const desired = thing({ containers: [{ name: 'worker', image: 'a' }] })
    expect(difference(desired, thing({ containers: [{ name: 'worker', image: 'b' }] }), 'us')).toBe(
      '.spec.containers[worker].image',
    )
  })

  it('names an item and a label that were taken away by hand', () => {
    const desired = thing({ volumes: [{ name: 'tmp', emptyDir: {} }] }, { labels: { ours: '1' } })
    expect(difference(desired, thing({ volumes: [] }, { labels: { ours: '1' } }), 'us')).toBe('.spec.volumes[tmp]')
    expect(difference(desired, thing({ volumes: [{ name: 'tmp', emptyDir: {} }] }), 'us')).toBe('.metadata.labels')
  })

  it('sees that an emptyDir was made into something else', () => {
    const desired = thing({ volumes: [{ name: 'tmp', emptyDir: {} }] })
    expect(difference(desired, thing({ volumes: [{ name: 'tmp', hostPath: { path: '/' } }] }), 'us')).toBe(
      '.spec.volumes[tmp].emptyDir',
    )
  })

  it('takes quantities for what they mean', () => {
    const desired = thing({ resources: { requests: { cpu: '1000m', memory: '1024Mi' } } })
    expect(difference(desired, thing({ resources: { requests: { cpu: '1', memory: '1Gi' } } }), 'us')).toBeUndefined()
    expect(difference(desired, thing({ resources: { requests: { cpu: '2', memory: '1Gi' } } }), 'us')).toBe(
      '.spec.resources.requests.cpu',
    )
  })

  it('takes a field that the API server leaves out for its zero', () => {
    expect(
      difference(thing({ env: [{ name: 'A', value: '' }] }), thing({ env: [{ name: 'A' }] }), 'us'),
    ).toBeUndefined()
  })

  it('compares lists without a key as wholes', () => {
    expect(difference(thing({ args: ['a'] }), thing({ args: ['a', 'b'] }), 'us')).toBe('.spec.args')
  })

  it('sees a field that we applied once and no longer want', () => {
    const managedFields = [
      {
        manager: 'us',
        operation: 'Apply',
        fieldsV1: { 'f:spec': { 'f:containers': { 'k:{"name":"worker"}': { '.': {}, 'f:args': {} } } } },
      },
      { manager: 'them', operation: 'Update', fieldsV1: { 'f:spec': { 'f:paused': {} } } },
    ]
    const live = thing({ containers: [{ name: 'worker', args: ['x'] }], paused: true }, { managedFields })
    expect(difference(thing({ containers: [{ name: 'worker' }] }), live, 'us')).toBe(
      '.spec.containers.{"name":"worker"}.args',
    )
    expect(difference(thing({ containers: [{ name: 'worker', args: ['x'] }] }), live, 'us')).toBeUndefined()
  })

  it('finds a keyed item although the server added a key by default', () => {
    const managedFields = [
      {
        manager: 'us',
        operation: 'Apply',
        fieldsV1: { 'f:spec': { 'f:ports': { 'k:{"containerPort":80,"protocol":"TCP"}': { '.': {} } } } },
      },
    ]
    const live = thing({ ports: [{ containerPort: 80, protocol: 'TCP' }] }, { managedFields })
    expect(difference(thing({ ports: [{ containerPort: 80 }] }), live, 'us')).toBeUndefined()
  })
})

describe('quantity', () => {
  it.each([
    ['100m', 0.1],
    ['1Ki', 1024],
    ['2', 2],
    [3, 3],
    ['1e3', 1000],
  ])('reads %s', (text, value) => {
    expect(quantity(text)).toBeCloseTo(value, 12)
  })

  it('says nothing of what is no quantity', () => {
    expect(quantity('much')).toBeUndefined()
  })
})
