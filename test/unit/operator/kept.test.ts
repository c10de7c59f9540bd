// What the caches keep of an object: nothing that is read may be missing.
import { describe, expect, it } from 'vitest'
import { difference } from '../../../src/operator/difference.ts'
import { keptChild, keptPod } from '../../../src/operator/kept.ts'
import type { KubeObject, LivePod, ManagedFieldsEntry } from '../../../src/operator/objects.ts'

const managedFields = (uid: string): ManagedFieldsEntry[] => [
  {
    manager: 'taskqueue-operator',
    operation: 'Apply',
    fieldsV1: {
      'f:metadata': { 'f:ownerReferences': { [`k:{"uid":"${uid}"}`]: {} } },
      'f:data': { 'f:a': {}, 'f:b': {} },
    },
  },
  { manager: 'someone', operation: 'Update', fieldsV1: { 'f:data': { 'f:c': {} } } },
]

const configMap = (uid: string): KubeObject & { data: Record<string, string> } => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'x', uid: `of-${uid}`, managedFields: managedFields(uid) },
  data: { a: '1', b: '2', c: '3' },
})

describe('a child', () => {
  it('keeps what we own and forgets what others do', () => {
    const kept = keptChild(configMap('u1'))
    expect(kept.metadata.managedFields).toEqual(managedFields('u1').slice(0, 1))
    expect(kept.data).toEqual({ a: '1', b: '2', c: '3' })
    // A field that we once applied and no longer want is still found.
    const wanted = { ...configMap('u1'), data: { a: '1' } }
    expect(difference(wanted, kept, 'taskqueue-operator')).toContain('ownerReferences')
    const fields = kept.metadata.managedFields?.[0]?.fieldsV1 ?? {}
    expect(fields['f:data']).toBe(keptChild(configMap('u2')).metadata.managedFields?.[0]?.fieldsV1?.['f:data'])
  })

  it('is the same when it is kept again', () => {
    const once = keptChild(configMap('u1'))
    expect(keptChild(once)).toEqual(once)
  })
})

describe('a Pod', () => {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', uid: 'u', labels: { a: 'b' }, annotations: { c: 'd' }, managedFields: managedFields('u') },
    spec: {
      nodeName: 'n',
      containers: [{ name: 'worker', image: 'i', imagePullPolicy: 'Always', env: [{ name: 'X', value: 'y' }] }],
      volumes: [{ name: 'tmp', emptyDir: {} }],
    },
    status: {
      phase: 'Running',
      podIP: '10.0.0.1',
      conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: 'then' }],
      containerStatuses: [{ name: 'worker', ready: true, restartCount: 1, imageID: 'long', state: { running: {} } }],
    },
  } as unknown as LivePod

  it('keeps what is read of it', () => {
    expect(keptPod(pod)).toEqual({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'p', uid: 'u', labels: { a: 'b' }, annotations: { c: 'd' } },
      spec: { nodeName: 'n', containers: [{ name: 'worker', image: 'i', imagePullPolicy: 'Always' }] },
      status: {
        phase: 'Running',
        conditions: [{ type: 'Ready', status: 'True' }],
        containerStatuses: [{ name: 'worker', ready: true, restartCount: 1, state: { running: {} } }],
      },
    })
    expect(keptPod(keptPod(pod))).toEqual(keptPod(pod))
  })
})
