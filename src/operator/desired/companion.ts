// The companion: a native sidecar of every pod. It measures clocks and, for Celery workers, answers the kubelet's probes.
// It is on the pod's critical path, so it has no probe of its own.

import type { V1Container, V1EnvVar } from '@kubernetes/client-node'
import type { TaskQueue, WorkerPool } from '../taskqueue.ts'
import { identityEnvironment } from './environment.ts'
import type { OperatorInputs } from './inputs.ts'
import { containerSecurityContext } from './security.ts'
import type { Component } from './names.ts'

export const COMPANION = 'companion'
export const COMPANION_PORT = 9809

/** True when the pod gets a companion: for the clocks, or for a Celery worker's probes. Without a pool it is beat's. */
export function hasCompanion(queue: TaskQueue, pool?: Pick<WorkerPool, 'probe'>): boolean {
  const { clockSync, engine } = queue.spec
  const probes = engine === 'Celery' && pool !== undefined && pool.probe !== 'Exec' && pool.probe !== 'None'
  return clockSync.mode !== 'Off' || probes
}

/** Where the node's chronyd is asked. */
const nodeAddress = {
  name: 'TASKQUEUE_COMPANION_NODE_IP',
  valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'status.hostIP' } },
}

/** @param pool whose workers it stands beside; none for beat */
export function companion(queue: TaskQueue, pool: WorkerPool | undefined, inputs: OperatorInputs): V1Container {
  const { clockSync, engine } = queue.spec
  const component: Component = pool ? 'worker' : 'beat'
  const asksCelery = engine === 'Celery' && pool !== undefined
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
      { name: 'TASKQUEUE_COMPANION_PING', value: asksCelery ? 'Celery' : 'Off' },
      ...(asksCelery ? poolLimits(queue, pool) : []),
      ...(disciplined ? [nodeAddress] : []),
    ],
    ports: [{ name: COMPANION, containerPort: COMPANION_PORT, protocol: 'TCP' }],
    resources: { requests: { cpu: '5m', memory: '32Mi' }, limits: { memory: '128Mi' } },
    securityContext: containerSecurityContext,
  }
}

/** What tells the companion that a pool is stuck. */
function poolLimits({ spec }: TaskQueue, pool: WorkerPool): V1EnvVar[] {
  const { stalledSeconds, restartStalled } = spec.patrol
  return [
    { name: 'TASKQUEUE_COMPANION_MAX_TASK_SECONDS', value: String(pool.maxTaskSeconds) },
    { name: 'TASKQUEUE_COMPANION_STALLED_SECONDS', value: String(restartStalled ? stalledSeconds : 0) },
  ]
}
