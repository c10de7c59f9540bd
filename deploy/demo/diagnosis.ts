// What a person needs to see when a stage of the demo fails: the conditions that are not met, and the last log lines of the
// component at fault.

import { DEMO_NAMESPACE, OPERATOR_NAMESPACE } from './install.ts'
import type { Kubectl } from './kubectl.ts'

interface Condition {
  type: string
  status: string
  reason?: string
  message?: string
}

interface Listed {
  items: {
    metadata: { name: string; namespace: string }
    status?: {
      phase?: string
      conditions?: Condition[]
      containerStatuses?: ContainerStatus[]
      initContainerStatuses?: ContainerStatus[]
    }
  }[]
}

interface ContainerStatus {
  name: string
  ready: boolean
  restartCount: number
  state?: { running?: unknown; waiting?: { reason?: string }; terminated?: { exitCode?: number } }
}

const LINES = '25'

/** The report, as lines. Never throws: a diagnosis that fails must not hide the failure. */
export async function diagnose(kubectl: Kubectl): Promise<string[]> {
  const lines: string[] = []
  try {
    const queues = await kubectl.json<Listed>('get', 'taskqueues', '--namespace', DEMO_NAMESPACE)
    for (const { metadata, status } of queues.items) {
      for (const c of status?.conditions ?? []) {
        if (c.status !== 'True' && c.type !== 'Suspended')
          lines.push(`TaskQueue ${metadata.name}: ${c.type}=${c.status} (${c.reason ?? ''}) ${c.message ?? ''}`)
      }
    }
  } catch {
    lines.push('The TaskQueues could not be read.')
  }
  for (const namespace of [DEMO_NAMESPACE, OPERATOR_NAMESPACE]) lines.push(...(await podTroubles(kubectl, namespace)))
  return lines
}

async function podTroubles(kubectl: Kubectl, namespace: string): Promise<string[]> {
  const lines: string[] = []
  try {
    const pods = await kubectl.json<Listed>('get', 'pods', '--namespace', namespace)
    for (const pod of pods.items) {
      const containers = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])]
      const bad = containers.filter((container) => !container.ready)
      if (pod.status?.phase === 'Running' && bad.length === 0) continue
      lines.push(`Pod ${namespace}/${pod.metadata.name} is ${pod.status?.phase ?? 'unknown'}:`)
      for (const container of bad)
        lines.push(...(await containerTrouble(kubectl, namespace, pod.metadata.name, container)))
      const events = [
        'get',
        'events',
        '--namespace',
        namespace,
        '--field-selector',
        `involvedObject.name=${pod.metadata.name}`,
      ]
      lines.push(...indent((await kubectl.attempt(...events)).stdout, 6))
    }
  } catch {
    lines.push(`The pods of ${namespace} could not be read.`)
  }
  return lines
}

async function containerTrouble(
  kubectl: Kubectl,
  namespace: string,
  pod: string,
  container: ContainerStatus,
): Promise<string[]> {
  const state =
    container.state?.waiting?.reason ??
    (container.state?.running ? 'not ready' : `ended with ${container.state?.terminated?.exitCode ?? '?'}`)
  const base = ['logs', '--namespace', namespace, pod, '--container', container.name, '--tail', LINES]
  const log = await kubectl.attempt(...base, ...(container.restartCount > 0 ? ['--previous'] : []))
  return [
    `  container ${container.name} is ${state}; its last lines:`,
    ...indent(log.stdout || log.stderr, Number(LINES)),
  ]
}

function indent(text: string, count: number): string[] {
  return text
    .trimEnd()
    .split('\n')
    .slice(-count)
    .filter((line) => line !== '')
    .map((line) => `    | ${line}`)
}
