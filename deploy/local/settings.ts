// What the local cluster is made of and where it lives: versions, addresses, paths. Pure: reads nothing but the environment it is given.
import { createHash } from 'node:crypto'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { LocalClusterError } from './errors.ts'

/** Versions of what is built from source; the go.mod files below `binaries/` say the same, and a unit test holds them together. */
export const versions = {
  kubernetes: '1.35.4',
  etcd: '3.6.5',
  coredns: '1.15.0',
  helm: '4.3.1',
  pause: '1',
} as const

/** Environment variables, as `process.env` has them. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Folder of everything that may be built or fetched again: binaries, images, logs of builds. Never inside the checkout. */
export function cacheFolder(env: Environment = process.env): string {
  if (env.TASKQUEUE_CACHE) return resolve(env.TASKQUEUE_CACHE)
  return join(env.XDG_CACHE_HOME ?? join(env.HOME ?? homedir(), '.cache'), 'taskqueue-operator')
}

/** Addresses of one local cluster, all cut from one /16 network. */
export interface Addresses {
  /** The whole network, e.g. `10.213.0.0/16`; nothing else on the machine may use it. */
  readonly network: string
  /** This machine's end of the link to the cluster. */
  readonly host: string
  /** The node's address, which is the API server's as well. */
  readonly node: string
  readonly pods: string
  readonly services: string
  /** First address of `services`: `kubernetes.default`. */
  readonly apiService: string
  /** The cluster's DNS service. */
  readonly dnsService: string
}

/** Everything that names one local cluster. Two clusters with different folders and networks don't meet. */
export interface ClusterSettings {
  readonly folder: string
  readonly nodeName: string
  /** Name of the cgroup below which every pod runs, and of the nft tables. */
  readonly scope: string
  /** Network device on this machine that leads to the cluster. */
  readonly link: string
  readonly addresses: Addresses
  readonly apiPort: number
  /** Number of local volumes that are kept ready for claims. */
  readonly volumes: number
  /** Whether pods may reach what is outside this machine. */
  readonly egress: boolean
  readonly kubeconfig: string
}

/** What the names of local clusters' network devices begin with. */
export const linkPrefix = 'tq-'

const defaultFolder = '/var/lib/taskqueue-local'

/**
 * The local cluster's settings.
 * @param env `TASKQUEUE_CLUSTER_DIR` (folder), `TASKQUEUE_CLUSTER_NETWORK` (a /16), `TASKQUEUE_CLUSTER_EGRESS` (`off` keeps pods
 *   inside), `TASKQUEUE_CLUSTER_VOLUMES` (1 to 200).
 * @throws LocalClusterError `SETTING_INVALID`
 */
export function clusterSettings(env: Environment = process.env): ClusterSettings {
  const folder = resolve(env.TASKQUEUE_CLUSTER_DIR ?? defaultFolder)
  if (/^\/((run|var\/run|proc|sys|dev|var\/log)(\/|$)|$)/.test(folder)) {
    throw invalid(
      'TASKQUEUE_CLUSTER_DIR',
      folder,
      'a folder of its own on a disk, outside /run, /proc, /sys, /dev and /var/log',
    )
  }
  const suffix = folder === defaultFolder ? '' : createHash('sha256').update(folder).digest('hex').slice(0, 8)
  const addresses = cutAddresses(env.TASKQUEUE_CLUSTER_NETWORK ?? '10.213.0.0/16')
  return {
    folder,
    nodeName: 'local',
    scope: suffix ? `taskqueue-local-${suffix}` : 'taskqueue-local',
    link: `${linkPrefix}${suffix || 'local'}`,
    addresses,
    apiPort: 6443,
    volumes: readNumber(env, 'TASKQUEUE_CLUSTER_VOLUMES', 20, 1, 200),
    egress: env.TASKQUEUE_CLUSTER_EGRESS !== 'off',
    kubeconfig: join(folder, 'kubeconfig'),
  }
}

/** Which cluster the commands are about. */
export type ClusterKind = 'local' | 'kind' | 'current'

/**
 * The cluster that `CLUSTER` names; `local` when it is unset.
 * @throws LocalClusterError `SETTING_INVALID`
 */
export function clusterKind(env: Environment = process.env): ClusterKind {
  const kind = env.CLUSTER ?? 'local'
  if (kind === 'local' || kind === 'kind' || kind === 'current') return kind
  throw invalid('CLUSTER', kind, 'local, kind or current')
}

function cutAddresses(network: string): Addresses {
  const match = /^(\d{1,3})\.(\d{1,3})\.0\.0\/16$/.exec(network)
  if (!match || Number(match[1]) > 255 || Number(match[2]) > 255) {
    throw invalid('TASKQUEUE_CLUSTER_NETWORK', network, 'a private /16 network, such as 10.213.0.0/16')
  }
  const base = `${match[1] ?? ''}.${match[2] ?? ''}`
  return {
    network,
    host: `${base}.0.1`,
    node: `${base}.0.2`,
    pods: `${base}.64.0/18`,
    services: `${base}.128.0/18`,
    apiService: `${base}.128.1`,
    dnsService: `${base}.128.10`,
  }
}

function readNumber(env: Environment, name: string, fallback: number, least: number, most: number): number {
  const text = env[name]
  if (text === undefined || text === '') return fallback
  const value = Number(text)
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw invalid(name, text, `a whole number from ${least} to ${most}`)
}

function invalid(name: string, value: string, wanted: string): LocalClusterError {
  return new LocalClusterError('SETTING_INVALID', `${name} is ${JSON.stringify(value)}. Give it ${wanted}.`)
}
