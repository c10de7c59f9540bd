// The volume claim of beat's schedule file. It outlives the Pod, and the TaskQueue too with whenDeleted: Retain.

import type { KubeObject } from '../objects.ts'
import type { BeatSpec, TaskQueue } from '../taskqueue.ts'
import { childMetadata, labels, names } from './names.ts'

export interface DesiredVolumeClaim extends KubeObject {
  spec: {
    accessModes: string[]
    resources: { requests: { storage: string } }
    storageClassName?: string
  }
}

export function beatVolumeClaim(queue: TaskQueue, beat: BeatSpec): DesiredVolumeClaim {
  const { ownerReferences, ...metadata } = childMetadata(queue, names.beatVolume(queue), labels(queue, 'beat'))
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: {
      ...metadata,
      ...(beat.storage.whenDeleted === 'Delete' && ownerReferences ? { ownerReferences } : {}),
    },
    spec: {
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: beat.storage.size } },
      ...(beat.storage.storageClassName === undefined ? {} : { storageClassName: beat.storage.storageClassName }),
    },
  }
}
