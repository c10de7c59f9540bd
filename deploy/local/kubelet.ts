// The kubelet and kube-proxy of the local cluster's one node: their configuration and command lines. Starts nothing.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { containerdSocket } from './containerd.ts'
import { writeKubeconfig } from './kubeconfig.ts'
import { CertificateAuthority } from './pki.ts'
import type { ClusterSettings } from './settings.ts'

/** Ports on the node's address that say whether a component is well. */
export const healthPorts = { kubelet: 10248, kubeProxy: 10256 } as const

/** What the kubelet is told. Limits of the disk are low and images are never collected: without a registry they would not come back. */
export function kubeletConfiguration(
  settings: ClusterSettings,
  authority: string,
  serving: { certificate: string; key: string },
): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    address: settings.addresses.node,
    healthzBindAddress: settings.addresses.node,
    healthzPort: healthPorts.kubelet,
    authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: authority } },
    authorization: { mode: 'Webhook' },
    tlsCertFile: serving.certificate,
    tlsPrivateKeyFile: serving.key,
    containerRuntimeEndpoint: `unix://${containerdSocket(settings)}`,
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${settings.scope}`,
    failCgroupV1: false,
    failSwapOn: false,
    clusterDNS: [settings.addresses.dnsService],
    clusterDomain: 'cluster.local',
    resolvConf: join(settings.folder, 'resolv.conf'),
    podLogsDir: join(settings.folder, 'pod-logs'),
    volumePluginDir: join(settings.folder, 'kubelet-plugins'),
    makeIPTablesUtilChains: false,
    seccompDefault: true,
    imageGCHighThresholdPercent: 100,
    evictionHard: {
      'memory.available': '64Mi',
      'nodefs.available': '1%',
      'imagefs.available': '1%',
      'nodefs.inodesFree': '1%',
    },
    nodeStatusReportFrequency: '1m',
  }
}

/** What kube-proxy is told. It leaves the machine's connection tracking alone. */
export function proxyConfiguration(settings: ClusterSettings, kubeconfig: string): object {
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode: 'nftables',
    clientConnection: { kubeconfig },
    clusterCIDR: settings.addresses.pods,
    hostnameOverride: settings.nodeName,
    healthzBindAddress: `${settings.addresses.node}:${healthPorts.kubeProxy}`,
    metricsBindAddress: '127.0.0.1:10249',
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
    nodePortAddresses: [`${settings.addresses.node}/32`],
  }
}

/** Makes the node's certificates and configuration, and returns the two command lines. */
export async function nodeCommands(
  settings: ClusterSettings,
  server: string,
): Promise<{ kubelet: string[]; proxy: string[] }> {
  const { folder, nodeName, addresses } = settings
  const pki = await CertificateAuthority.open(join(folder, 'pki'))
  const authority = pki.authority.certificate
  const identity = await pki.issue({
    name: 'kubelet',
    commonName: `system:node:${nodeName}`,
    organization: 'system:nodes',
  })
  const serving = await pki.issue({
    name: 'kubelet-serving',
    commonName: nodeName,
    alternativeNames: [`IP:${addresses.node}`, `DNS:${nodeName}`],
  })
  const proxyIdentity = await pki.issue({ name: 'kube-proxy', commonName: 'system:kube-proxy' })
  const file = (name: string) => join(folder, name)
  writeKubeconfig(file('kubelet.kubeconfig'), nodeName, server, authority, identity)
  writeKubeconfig(file('kube-proxy.kubeconfig'), nodeName, server, authority, proxyIdentity)
  writeFileSync(file('kubelet.json'), JSON.stringify(kubeletConfiguration(settings, authority, serving), null, 2))
  writeNew(
    file('kube-proxy.json'),
    JSON.stringify(proxyConfiguration(settings, file('kube-proxy.kubeconfig')), null, 2),
  )
  mkdirSync(file('kubelet'), { recursive: true })
  return {
    kubelet: [
      'kubelet',
      `--config=${file('kubelet.json')}`,
      `--kubeconfig=${file('kubelet.kubeconfig')}`,
      `--root-dir=${file('kubelet')}`,
      `--cert-dir=${file('pki')}`,
      `--hostname-override=${nodeName}`,
      `--node-ip=${addresses.node}`,
    ],
    proxy: ['kube-proxy', `--config=${file('kube-proxy.json')}`],
  }
}

/** Leaves a file that is right alone: a kube-proxy that runs ends when its configuration is written, even with the same. */
function writeNew(file: string, text: string): void {
  if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileSync(file, text)
}
