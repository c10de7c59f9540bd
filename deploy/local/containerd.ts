// containerd for the local cluster: Debian's program with folders, sockets and images of its own. Not the machine's containerd.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Namespace } from './namespace.ts'
import type { ClusterSettings } from './settings.ts'

/** Path of the socket, the same inside and outside the cluster's namespaces. */
export function containerdSocket(settings: ClusterSettings): string {
  return join(settings.folder, 'run', 'containerd.sock')
}

/** The text of containerd's configuration. */
export function containerdConfiguration(settings: ClusterSettings, podNetwork: string, pauseImage: string): string {
  const data = join(settings.folder, 'containerd')
  const quoted = (text: string) => JSON.stringify(text)
  return `version = 2
root = ${quoted(data)}
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = ${quoted(containerdSocket(settings))}

[plugins."io.containerd.internal.v1.opt"]
path = ${quoted(join(data, 'opt'))}

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = ${quoted(pauseImage)}
# Without CAP_SYS_RESOURCE, as in many containers and virtual machines, a lower oom_score_adj than one's own is refused.
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = ${quoted(podNetwork)}

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
`
}

/** Writes the configuration and returns containerd's command line. */
export function containerdCommand(settings: ClusterSettings, podNetwork: string, pauseImage: string): string[] {
  const file = join(settings.folder, 'containerd.toml')
  mkdirSync(join(settings.folder, 'containerd'), { recursive: true })
  writeFileSync(file, containerdConfiguration(settings, podNetwork, pauseImage))
  return ['containerd', '--config', file, '--log-level', 'warn']
}

/** Runs `ctr` on the images that Kubernetes sees. */
export function ctr(settings: ClusterSettings, namespace: Namespace, args: readonly string[]): Promise<string> {
  return namespace.run(['ctr', '--address', containerdSocket(settings), '--namespace', 'k8s.io', ...args])
}

/** Whether containerd answers. */
export async function containerdAnswers(settings: ClusterSettings, namespace: Namespace): Promise<boolean> {
  if (!namespace.first) return false
  const answer = await namespace.attempt([
    'ctr',
    '--address',
    containerdSocket(settings),
    '--connect-timeout',
    '2s',
    'version',
  ])
  return answer.status === 0
}
