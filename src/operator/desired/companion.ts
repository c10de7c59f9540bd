// The companion: a native sidecar of every pod. It measures clocks and, for Celery workers, answers the kubelet's probes.
// It is on the pod's critical path, so it has no probe of its own.

import type { V1Container } from '@kubernetes/client-node'
import type { TaskQueue } from '../taskqueue.ts'
import { identityEnvironment } from './environment.ts'
import type { OperatorInputs } from './inputs.ts'
import { containerSecurityContext } from './security.ts'
import type { Component } from './names.ts'

export const COMPANION = 'companion'
export const COMPANION_PORT = 9809

/** True when the pod gets a companion: always for a Celery worker's probes, else for the clocks. */
export function hasCompanion(queue: TaskQueue, component: Component): boolean {
  return queue.spec.clockSync.mode !== 'Off' || (queue.spec.engine === 'Celery' && component === 'worker')
}

/** Where the node's chronyd is asked. */
const nodeAddress = {
  name: 'TASKQUEUE_COMPANION_NODE_IP',
  valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'status.hostIP' } },
}

export function companion(queue: TaskQueue, component: Component, inputs: OperatorInputs): V1Container {
  const { clockSync, engine } = queue.spec
  const answersProbes = engine === 'Celery' && component === 'worker'
  const disciplined = clockSync.mode === 'Discipline' && inputs.allowDiscipline
  const monitored = clockSync.mode === 'Off' ? 'Off' : 'Monitor'
  return {
    name: COMPANION,
    image: inputs.companionImage,
    ...(inputs.imagePullPolicy === undefined ? {} : { imagePullPolicy: inputs.imagePullPolicy }),
    restartPolicy: 'Always',
    // Small heaps: the process holds next to nothing, and the limit is for leaks, not for pages shared with other pods.
    command: [
      'node',
      '--max-old-space-size=16',
      '--max-semi-space-size=1',
      '--single-threaded-gc',
      '/opt/taskqueue/src/companion/dist/main.js',
    ],
    env: [
      ...identityEnvironment(queue),
      { name: 'TASKQUEUE_COMPANION_COMPONENT', value: component },
      { name: 'TASKQUEUE_COMPANION_CLOCK', value: disciplined ? 'Discipline' : monitored },
      { name: 'TASKQUEUE_COMPANION_SERVERS', value: (clockSync.servers ?? []).join(',') },
      { name: 'TASKQUEUE_COMPANION_PING', value: answersProbes ? 'Celery' : 'Off' },
      ...(disciplined ? [nodeAddress] : []),
    ],
    ports: [{ name: COMPANION, containerPort: COMPANION_PORT, protocol: 'TCP' }],
    resources: { requests: { cpu: '5m', memory: '32Mi' }, limits: { memory: '128Mi' } },
    securityContext: containerSecurityContext,
  }
}
