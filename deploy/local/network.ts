// The network of the local cluster: the link between this machine and its node, what pods may reach, and how pods are attached.
// All but the link's near end, one nft table and one kernel setting is inside the cluster's namespaces and vanishes with them.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { attempt, run } from './command.ts'
import { LocalClusterError } from './errors.ts'
import type { Namespace } from './namespace.ts'
import { linkPrefix, type ClusterSettings } from './settings.ts'

const forwarding = '/proc/sys/net/ipv4/ip_forward'
const forwardingBefore = (settings: ClusterSettings) => join(settings.folder, 'run', 'ip_forward.before')

/** The numbers of an IPv4 network in CIDR form: first address, and how many addresses. */
export function parseNetwork(cidr: string): { first: number; size: number } | undefined {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)(?:\/(\d+))?$/.exec(cidr)
  if (!match) return undefined
  const [a, b, c, d] = match.slice(1, 5).map(Number)
  const size = 2 ** (32 - Number(match[5] ?? 32))
  const address = (((a ?? 0) * 256 + (b ?? 0)) * 256 + (c ?? 0)) * 256 + (d ?? 0)
  return { first: address - (address % size), size }
}

/** The first route of `ip -4 route` that runs into `network` over another device than `link`; undefined when the network is free. */
export function takenBy(routes: string, network: string, link: string): string | undefined {
  const wanted = parseNetwork(network)
  if (!wanted) return undefined
  return routes.split('\n').find((line) => {
    const target = parseNetwork(line.split(' ')[0] ?? '')
    if (!target || line.includes(` dev ${link} `)) return false
    // A route to a quarter of the internet, as a VPN may set, is not a claim to each network in it.
    if (target.size > 2 ** 24) return false
    return target.first < wanted.first + wanted.size && wanted.first < target.first + target.size
  })
}

/**
 * Makes the link, its routes and the rules for traffic that leaves the cluster.
 * @throws LocalClusterError `NETWORK_TAKEN` when something else on this machine uses the network
 */
export async function connectNetwork(settings: ClusterSettings, namespace: Namespace): Promise<void> {
  const { addresses, link } = settings
  const routes = await run('ip', ['-4', 'route', 'show', 'table', 'all'])
  const taken = takenBy(routes, addresses.network, link)
  if (taken) {
    throw new LocalClusterError(
      'NETWORK_TAKEN',
      `The cluster's network ${addresses.network} is in use here (${taken.trim()}). Set TASKQUEUE_CLUSTER_NETWORK to another /16, e.g. 10.214.0.0/16.`,
    )
  }
  const first = namespace.first
  if (!first) throw new LocalClusterError('COMPONENT_FAILED', 'The namespaces are gone.', namespace.log('namespace'))
  await run('ip', ['link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(first.pid)])
  await run('ip', ['address', 'add', `${addresses.host}/30`, 'dev', link])
  await run('ip', ['link', 'set', link, 'up'])
  for (const range of [addresses.pods, addresses.services]) {
    await run('ip', ['route', 'add', range, 'via', addresses.node, 'dev', link])
  }
  await namespace.run(['ip', 'address', 'add', `${addresses.node}/30`, 'dev', 'eth0'])
  await namespace.run(['ip', 'link', 'set', 'eth0', 'up'])
  await namespace.run(['ip', 'route', 'add', 'default', 'via', addresses.host])
  await namespace.run(['nft', '-f', '-'], { input: innerRules(settings) })
  if (settings.egress) await openEgress(settings)
}

// Pods leave under the node's address: the machine knows no way back to more than that, unless it asked first.
function innerRules({ scope, addresses }: ClusterSettings): string {
  return `table ip ${scope} {
  chain leaving {
    type nat hook postrouting priority srcnat;
    ip saddr ${addresses.pods} ip daddr != ${addresses.network} masquerade
  }
}
`
}

async function openEgress(settings: ClusterSettings): Promise<void> {
  const { scope, link, addresses } = settings
  const before = await forwardingWithout(scope)
  if (!existsSync(forwardingBefore(settings))) writeFileSync(forwardingBefore(settings), before)
  // Forwarding is switched on for the machine, so these rules let nothing through that is not a local cluster's when it was off before.
  const rules = `table ip ${scope} {
  chain leaving {
    type nat hook postrouting priority srcnat;
    ip saddr ${addresses.node} oifname != "${link}" masquerade
  }
  chain passing {
    type filter hook forward priority filter;
    oifname "${link}" ct state new drop${before === '0' ? `\n    ${closedRule}` : ''}
  }
}
`
  await run('nft', ['-f', '-'], { input: rules })
  if (before === '0') writeFileSync(forwarding, '1')
}

const closedRule = `iifname != "${linkPrefix}*" oifname != "${linkPrefix}*" drop`

// The setting as it would be without local clusters: another one may have switched it on, and its rules say so.
async function forwardingWithout(scope: string): Promise<string> {
  for (const table of await otherTables(scope)) {
    if ((await run('nft', ['list', 'table', 'ip', table])).includes(closedRule)) return '0'
  }
  return readFileSync(forwarding, 'utf8').trim()
}

async function otherTables(scope: string): Promise<string[]> {
  return localTables(await run('nft', ['list', 'tables'])).filter((table) => table !== scope)
}

/** The names of local clusters' tables in what `nft list tables` prints. */
export function localTables(listed: string): string[] {
  return [...listed.matchAll(/^table ip (taskqueue-local(?:-[0-9a-f]{8})?)$/gm)].map((match) => match[1] ?? '')
}

/** Whether the device is there. It may vanish at any moment after its namespace did. */
export async function linkExists(link: string): Promise<boolean> {
  // A machine without the command can't have been given a link by it.
  const answer = await attempt('ip', ['link', 'show', 'dev', link]).catch(() => undefined)
  return answer?.status === 0
}

/** Takes back what {@link connectNetwork} left on this machine. Does nothing where nothing is left. */
export async function disconnectNetwork(settings: ClusterSettings): Promise<void> {
  if (await linkExists(settings.link)) await attempt('ip', ['link', 'delete', settings.link])
  const nft = existsSync('/usr/sbin/nft')
  if (nft && localTables(await run('nft', ['list', 'tables'])).includes(settings.scope)) {
    await run('nft', ['delete', 'table', 'ip', settings.scope])
  }
  const file = forwardingBefore(settings)
  if (!existsSync(file)) return
  // The last cluster that goes switches forwarding off again.
  const wasOff = readFileSync(file, 'utf8').trim() === '0'
  if (wasOff && !(nft && (await otherTables(settings.scope)).length > 0)) writeFileSync(forwarding, '0')
  rmSync(file)
}

/** Writes how pods are attached: one bridge, addresses from one range, host ports. */
export function writePodNetwork(settings: ClusterSettings): string {
  const folder = join(settings.folder, 'cni')
  mkdirSync(folder, { recursive: true })
  const bridge = {
    type: 'bridge',
    bridge: 'cni0',
    isGateway: true,
    hairpinMode: true,
    ipMasq: false,
    ipam: {
      type: 'host-local',
      ranges: [[{ subnet: settings.addresses.pods }]],
      routes: [{ dst: '0.0.0.0/0' }],
      dataDir: '/run/cni-addresses',
    },
  }
  const plugins = [bridge, { type: 'portmap', capabilities: { portMappings: true } }]
  writeFileSync(
    join(folder, '10-local.conflist'),
    JSON.stringify({ cniVersion: '0.4.0', name: 'local', plugins }, null, 2),
  )
  return folder
}
