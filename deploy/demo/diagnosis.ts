// What a person needs to see when a stage of the demo fails: the conditions that are not met, why pods are not ready, and the last
// log lines of the components that may be at fault. Not a fix: it only reads.

import { DEMO_NAMESPACE, OPERATOR_NAMESPACE, RELEASE } from './install.ts'
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

/** A stage can fail while every pod is ready; then these have said why, or at least what they did last. */
const spokesmen: readonly (readonly [what: string, ...where: string[]])[] = [
  ['the Node workers', '--selector=taskqueue.dev/taskqueue=orders,taskqueue.dev/pool', '--container=worker'],
  ['the beat of the Node app', 'orders-beat', '--container=beat'],
  ['the Celery workers', '--selector=taskqueue.dev/taskqueue=reports,taskqueue.dev/pool', '--container=worker'],
  ['Redis', 'deployment/redis'],
]

/** The report, as lines. Never throws: a diagnosis that fails must not hide the failure. */
export async function diagnose(kubectl: Kubectl, namespace = DEMO_NAMESPACE): Promise<string[]> {
  const lines: string[] = []
  try {
    const queues = await kubectl.json<Listed>('get', 'taskqueues', '--namespace', namespace)
    for (const { metadata, status } of queues.items) {
      for (const c of status?.conditions ?? []) {
        if (c.status !== 'True' && c.type !== 'Suspended')
          lines.push(`TaskQueue ${metadata.name}: ${c.type}=${c.status} (${c.reason ?? ''}) ${c.message ?? ''}`)
      }
    }
  } catch {
    lines.push('The TaskQueues could not be read.')
  }
  for (const place of [namespace, OPERATOR_NAMESPACE]) lines.push(...(await podTroubles(kubectl, place)))
  const leader = await leadingOperator(kubectl)
  if (leader !== '') lines.push(...(await lastWords(kubectl, 'the leading operator', OPERATOR_NAMESPACE, [leader])))
  for (const [what, ...where] of spokesmen) lines.push(...(await lastWords(kubectl, what, namespace, where)))
  return lines
}

/** The pod that holds the operator's lease; empty when none does. */
async function leadingOperator(kubectl: Kubectl): Promise<string> {
  const holder = '--output=jsonpath={.spec.holderIdentity}'
  return (await kubectl.attempt('get', 'lease', RELEASE, '--namespace', OPERATOR_NAMESPACE, holder)).stdout.trim()
}

async function lastWords(
  kubectl: Kubectl,
  what: string,
  namespace: string,
  where: readonly string[],
): Promise<string[]> {
  const log = await kubectl.attempt('logs', '--namespace', namespace, ...where, '--prefix', '--tail=10')
  const text = (log.stdout || log.stderr).trim()
  return text === '' ? [] : [`The last lines of ${what}:`, ...indent(text, 30)]
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
