// Whether each part of the local cluster is well: asked of the processes, of their health endpoints and of the API server.
// Changes nothing.
import { join } from 'node:path'
import { containerdAnswers } from './containerd.ts'
import { ask, type EndpointAnswer } from './endpoint.ts'
import { healthPorts } from './kubelet.ts'
import type { Namespace } from './namespace.ts'
import type { ClusterSettings } from './settings.ts'
import { poolLabel } from './volumes.ts'

/** One part of a cluster. */
export interface Component {
  readonly name: string
  readonly healthy: boolean
  /** What is known of it, for people. */
  readonly detail: string
}

/** Names of the daemons, in the order in which they are started. */
export const daemons = [
  'etcd',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'containerd',
  'kubelet',
  'kube-proxy',
  'volume-recycler',
] as const

/** Name of a daemon. */
export type DaemonName = (typeof daemons)[number]

/** Ports on the node's address besides the API server's. */
export const controlPlanePorts = { controllerManager: 10257, scheduler: 10259, etcd: 2379, etcdPeer: 2380 } as const

/** A table of components, one a line. */
export function renderStatus(components: readonly Component[]): string {
  const width = Math.max(9, ...components.map(({ name }) => name.length))
  const rows = components.map(
    ({ name, healthy, detail }) => `${name.padEnd(width)}  ${healthy ? 'ok    ' : 'FAILED'}  ${detail}`,
  )
  return [`${'COMPONENT'.padEnd(width)}  STATUS  DETAIL`, ...rows].join('\n')
}

/** Asks every part at once. */
export async function clusterStatus(settings: ClusterSettings, namespace: Namespace): Promise<Component[]> {
  const first = namespace.first
  const processes = Promise.all(daemons.map((name) => daemonStatus(settings, namespace, name)))
  const objects = Promise.all([
    question(settings, `/api/v1/nodes/${settings.nodeName}`, nodeStatus),
    question(settings, '/apis/apps/v1/namespaces/kube-system/deployments/coredns', dnsStatus),
    question(settings, `/api/v1/persistentvolumes?labelSelector=${encodeURIComponent(`${poolLabel}=true`)}`, (body) =>
      volumeStatus(body, settings.volumes),
    ),
  ])
  return [
    { name: 'namespaces', healthy: first !== undefined, detail: first ? `process ${first.pid}` : 'not there' },
    ...(await processes),
    ...(await objects),
  ]
}

/** Whether one daemon runs and says that it is well. */
export async function daemonStatus(
  settings: ClusterSettings,
  namespace: Namespace,
  name: DaemonName,
): Promise<Component> {
  const record = namespace.daemon(name)
  if (!record) return { name, healthy: false, detail: 'not running' }
  const trouble = await daemonTrouble(settings, namespace, name)
  return {
    name,
    healthy: trouble === undefined,
    detail: `process ${record.pid}${trouble === undefined ? '' : `: ${trouble}`}`,
  }
}

async function daemonTrouble(
  settings: ClusterSettings,
  namespace: Namespace,
  name: DaemonName,
): Promise<string | undefined> {
  const { node } = settings.addresses
  switch (name) {
    case 'kube-apiserver':
      return trouble(await askApi(settings, '/readyz'))
    case 'kube-controller-manager':
      return trouble(await ask(`https://${node}:${controlPlanePorts.controllerManager}/healthz`))
    case 'kube-scheduler':
      return trouble(await ask(`https://${node}:${controlPlanePorts.scheduler}/healthz`))
    case 'kubelet':
      return trouble(await ask(`http://${node}:${healthPorts.kubelet}/healthz`))
    case 'kube-proxy':
      return trouble(await ask(`http://${node}:${healthPorts.kubeProxy}/healthz`))
    case 'containerd':
      return (await containerdAnswers(settings, namespace)) ? undefined : 'does not answer'
    case 'etcd':
    case 'volume-recycler':
      return undefined
  }
}

function trouble(answer: EndpointAnswer): string | undefined {
  if (answer.status === 200) return undefined
  return answer.status === 0 ? answer.body : `status ${answer.status}`
}

/** GETs a path of the API server with every right. */
export function askApi(settings: ClusterSettings, path: string): Promise<EndpointAnswer> {
  const pki = (file: string) => join(settings.folder, 'pki', file)
  const client = { key: pki('admin.key'), certificate: pki('admin.crt') }
  const url = `https://${settings.addresses.node}:${settings.apiPort}${path}`
  return ask(url, { authority: pki('ca.crt'), client })
}

async function question(
  settings: ClusterSettings,
  path: string,
  judge: (body: unknown) => Component,
): Promise<Component> {
  const answer = await askApi(settings, path)
  if (answer.status !== 200) return { ...judge(undefined), detail: trouble(answer) ?? 'unknown' }
  return judge(JSON.parse(answer.body))
}

interface Conditions {
  readonly status?: { readonly conditions?: readonly { type: string; status: string; message?: string }[] }
}

/** Whether the node is Ready, from its object. */
export function nodeStatus(body: unknown): Component {
  const ready = (body as Conditions | undefined)?.status?.conditions?.find(({ type }) => type === 'Ready')
  const healthy = ready?.status === 'True'
  return { name: 'node', healthy, detail: healthy ? 'Ready' : (ready?.message ?? 'not registered') }
}

/** Whether names work, from CoreDNS's Deployment. */
export function dnsStatus(body: unknown): Component {
  const available = (body as Conditions | undefined)?.status?.conditions?.find(({ type }) => type === 'Available')
  const healthy = available?.status === 'True'
  return {
    name: 'dns',
    healthy,
    detail: healthy ? 'CoreDNS is available' : (available?.message ?? 'CoreDNS is not there'),
  }
}

/** Whether the pool of volumes is whole, from the list of its volumes. A pool that is all in use is healthy and says so. */
export function volumeStatus(body: unknown, count: number): Component {
  const items = (body as { items?: readonly { status?: { phase?: string } }[] } | undefined)?.items ?? []
  const free = items.filter(({ status }) => status?.phase === 'Available').length
  return { name: 'volumes', healthy: items.length > 0, detail: `${free} of ${count} free` }
}
