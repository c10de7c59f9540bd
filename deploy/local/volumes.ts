// Local volumes for claims: the storage class, the pool of folders behind it, and what is to be done about each of them. Pure.
// The program that does it is recycler.ts.
import { join } from 'node:path'

/** Label of the volumes that belong to the pool. */
export const poolLabel = 'local.taskqueue.dev/pool'
export const storageClassName = 'local'

/** Where the pool is. */
export interface VolumePool {
  /** One folder a volume goes below it. */
  readonly folder: string
  readonly nodeName: string
  /** How many volumes there are. */
  readonly count: number
}

/** What the recycler sees of a volume: its name and its phase. */
export interface SeenVolume {
  readonly name: string
  readonly phase: string
  /** Being deleted, but still there. */
  readonly deleting: boolean
}

/** Names of all volumes of a pool. */
export function volumeNames(pool: VolumePool): string[] {
  return Array.from({ length: pool.count }, (_, index) => `local-${String(index + 1).padStart(3, '0')}`)
}

/**
 * What is to be done now: volumes whose claim is gone are deleted, and volumes that don't exist are made on a folder wiped before.
 * A volume that is used, free, or on its way out is left alone.
 */
export function planRecycling(pool: VolumePool, seen: readonly SeenVolume[]): { remove: string[]; make: string[] } {
  const known = new Map(seen.map((volume) => [volume.name, volume]))
  const names = volumeNames(pool)
  const spent = (volume: SeenVolume | undefined) =>
    volume !== undefined && ['Released', 'Failed'].includes(volume.phase) && !volume.deleting
  return {
    remove: names.filter((name) => spent(known.get(name))),
    make: names.filter((name) => !known.has(name)),
  }
}

/** The volume object of one folder. Retain: nobody but the recycler touches what is in it. */
export function persistentVolume(pool: VolumePool, name: string): object {
  const here = { key: 'kubernetes.io/hostname', operator: 'In', values: [pool.nodeName] }
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name, labels: { [poolLabel]: 'true' } },
    spec: {
      capacity: { storage: '1Gi' },
      accessModes: ['ReadWriteOnce'],
      persistentVolumeReclaimPolicy: 'Retain',
      storageClassName,
      volumeMode: 'Filesystem',
      local: { path: join(pool.folder, name) },
      nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [here] }] } },
    },
  }
}

/** The storage class, and what the recycler may do. */
export function volumeObjects(recyclerUser: string): object[] {
  const api = 'rbac.authorization.k8s.io'
  const name = 'local-volumes'
  return [
    {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'StorageClass',
      metadata: { name: storageClassName, annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
      provisioner: 'kubernetes.io/no-provisioner',
      volumeBindingMode: 'WaitForFirstConsumer',
    },
    {
      apiVersion: `${api}/v1`,
      kind: 'ClusterRole',
      metadata: { name },
      rules: [{ apiGroups: [''], resources: ['persistentvolumes'], verbs: ['list', 'create', 'delete'] }],
    },
    {
      apiVersion: `${api}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name },
      roleRef: { apiGroup: api, kind: 'ClusterRole', name },
      subjects: [{ apiGroup: api, kind: 'User', name: recyclerUser }],
    },
  ]
}
