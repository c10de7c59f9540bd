// How a pod gets on, in its own words: ready, silent, or in trouble with image pulls, crash loops, scheduling, quota. Pure.

import type { ContainerStatusSeen, LivePod } from './objects.ts'

export interface PodTrouble {
  /** CamelCase, Kubernetes' own word where it has one. */
  reason: string
  message: string
}

/** The first trouble of the pod; undefined when it is only on its way or well. */
export function podTrouble(pod: LivePod): PodTrouble | undefined {
  const name = pod.metadata.name
  const unscheduled = pod.status?.conditions?.find((c) => c.type === 'PodScheduled' && c.status === 'False')
  if (unscheduled) {
    const reason = unscheduled.reason ?? 'Unschedulable'
    return { reason, message: `Pod ${name} can not be scheduled: ${unscheduled.message ?? 'no node fits'}` }
  }
  for (const container of containersOf(pod)) {
    const trouble = containerTrouble(name, container)
    if (trouble) return trouble
  }
  return undefined
}

/** Waiting reasons that are part of every start. */
const ordinary = new Set(['ContainerCreating', 'PodInitializing'])

function containerTrouble(pod: string, container: ContainerStatusSeen): PodTrouble | undefined {
  const where = `container ${container.name} of pod ${pod}`
  const waiting = container.state?.waiting
  if (waiting?.reason !== undefined && !ordinary.has(waiting.reason)) {
    const ended = container.lastState?.terminated
    const last = ended ? `; it last ended with exit code ${ended.exitCode ?? '?'} (${ended.reason ?? 'no reason'})` : ''
    return { reason: waiting.reason, message: `${where}: ${waiting.message ?? waiting.reason}${last}` }
  }
  const ended = container.state?.terminated
  if (ended && ended.exitCode !== 0) {
    return {
      reason: ended.reason ?? 'Error',
      message: `${where} ended with exit code ${ended.exitCode ?? '?'}: see kubectl logs ${pod}`,
    }
  }
  return undefined
}

/** Whether one of the named containers can not start or keeps crashing: then its image is no good, or no good any more. */
export function isFailing(pod: LivePod, containers: readonly string[]): boolean {
  return containersOf(pod).some((status) => {
    const reason = status.state?.waiting?.reason
    return containers.includes(status.name) && reason !== undefined && !ordinary.has(reason)
  })
}

/** Whether the kubelet has said that every container has ended. */
export function hasEnded(pod: LivePod): boolean {
  const containers = containersOf(pod)
  return containers.length > 0 && containers.every(({ state }) => state?.terminated !== undefined)
}

/** Sidecars first. */
function containersOf({ status }: LivePod): ContainerStatusSeen[] {
  return [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])]
}

export function isReady(pod: LivePod): boolean {
  return pod.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') === true
}

/**
 * Whether the pod's node has gone silent: Kubernetes then takes Ready away, while the kubelet's last word on the containers, sidecars
 * among them, which nobody takes back, is that they are ready.
 */
export function isSilent(pod: LivePod): boolean {
  const condition = (type: string) => pod.status?.conditions?.find((one) => one.type === type)
  const ready = condition('Ready')
  const gone = ready !== undefined && ready.status !== 'True' && ready.reason !== 'ReadinessGatesNotReady'
  return gone && condition('ContainersReady')?.status === 'True'
}
