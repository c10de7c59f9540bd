// Debian packages: which are missing, and their installation. Nothing is removed, and nothing that is there is changed.
import { existsSync } from 'node:fs'
import { attempt, run } from './command.ts'
import { LocalClusterError } from './errors.ts'
import type { Stages } from './stage.ts'

/** A Debian package and a file that shows that it is there. */
export interface Package {
  readonly name: string
  /** Any of these files means that what is needed is there, wherever it came from. */
  readonly files: readonly string[]
}

const onPath = (command: string): string[] =>
  ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'].map(
    (folder) => `${folder}/${command}`,
  )

/** What a node of the local cluster needs from Debian. */
export const nodePackages: readonly Package[] = [
  { name: 'containerd', files: onPath('containerd') },
  { name: 'runc', files: onPath('runc') },
  { name: 'containernetworking-plugins', files: ['/usr/lib/cni/bridge'] },
  { name: 'iproute2', files: onPath('ip') },
  { name: 'nftables', files: onPath('nft') },
  { name: 'iptables', files: onPath('iptables') },
  { name: 'conntrack', files: onPath('conntrack') },
  { name: 'kmod', files: onPath('modprobe') },
  { name: 'openssl', files: onPath('openssl') },
  { name: 'util-linux', files: onPath('nsenter') },
]

/** What it takes to make images without a registry. */
export const imagePackages: readonly Package[] = [
  { name: 'buildah', files: onPath('buildah') },
  { name: 'mmdebstrap', files: onPath('mmdebstrap') },
]

/** What an API server on its own needs. */
export const apiServerPackages: readonly Package[] = [
  { name: 'openssl', files: onPath('openssl') },
  { name: 'util-linux', files: onPath('setpriv') },
]

/** The packages of which no file is there. */
export function missingPackages(wanted: readonly Package[], exists: (file: string) => boolean = existsSync): string[] {
  return wanted.filter((each) => !each.files.some(exists)).map((each) => each.name)
}

/**
 * Installs the packages that are missing.
 * @param log file for apt's output
 * @throws LocalClusterError `TOOL_MISSING` when they can't be installed here, naming the command that would
 */
export async function ensurePackages(wanted: readonly Package[], stages: Stages, log: string): Promise<void> {
  const missing = missingPackages(wanted)
  if (missing.length === 0) return
  const command = `apt-get install --no-install-recommends ${missing.join(' ')}`
  const apt = existsSync('/usr/bin/apt-get')
  if (!apt || process.getuid?.() !== 0) {
    const reason = apt ? 'this user may not install packages' : 'there is no apt-get here'
    throw new LocalClusterError(
      'TOOL_MISSING',
      `Missing: ${missing.join(', ')}, and ${reason}. Run, as root: ${command}`,
    )
  }
  await stages.run(`Debian packages: ${missing.join(' ')}`, () => install(missing, log), log)
}

async function install(names: readonly string[], log: string): Promise<void> {
  // RUNLEVEL=1 keeps Debian from starting the daemons that come with a package; the cluster runs its own.
  const options = {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
    log,
    outlives: true,
  }
  const patient = ['-q', '-o', 'DPkg::Lock::Timeout=600']
  const arguments_ = [...patient, 'install', '-y', '--no-install-recommends', ...names]
  // The lists may be missing or old: they are fetched only when the installation fails without.
  if ((await attempt('apt-get', arguments_, options)).status === 0) return
  await run('apt-get', [...patient, 'update'], options)
  await run('apt-get', arguments_, options)
}
