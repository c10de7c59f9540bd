// The command lines of the control plane and the files they name. The same for the local cluster and for an API server on its own.
// Starts nothing.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeKubeconfig } from './kubeconfig.ts'
import { CertificateAuthority, type KeyPair } from './pki.ts'

/** Where a control plane listens and keeps its files. */
export interface ControlPlanePlan {
  /** Everything it writes goes below this folder. */
  readonly folder: string
  /** Address that the API server listens on; clients on this machine use it. */
  readonly address: string
  readonly apiPort: number
  readonly etcdPort: number
  readonly etcdPeerPort: number
  readonly controllerManagerPort: number
  readonly schedulerPort: number
  readonly serviceRange: string
  /** Further addresses and names that the API server's certificate covers. */
  readonly alternativeNames: readonly string[]
  /** Identities whose requests the audit log leaves out, because they are the cluster's own noise. */
  readonly unauditedUsers: readonly string[]
}

/** Certificates and files of a control plane. */
export interface ControlPlaneFiles {
  readonly authority: string
  readonly authorityKey: string
  readonly signingKey: string
  readonly apiServer: KeyPair
  /** What the API server shows to etcd and to kubelets. */
  readonly apiServerClient: KeyPair
  readonly etcd: KeyPair
  readonly auditPolicy: string
  readonly auditLog: string
  readonly adminKubeconfig: string
  readonly controllerManagerKubeconfig: string
  readonly schedulerKubeconfig: string
}

/** Makes what is missing of a control plane's certificates, kubeconfigs and audit policy. */
export async function prepareControlPlane(plan: ControlPlanePlan, contextName: string): Promise<ControlPlaneFiles> {
  const pki = await CertificateAuthority.open(join(plan.folder, 'pki'))
  const logs = join(plan.folder, 'log')
  mkdirSync(logs, { recursive: true })
  const server = `https://${plan.address}:${plan.apiPort}`
  const kubeconfig = async (name: string, commonName: string, organization?: string) => {
    const file = join(plan.folder, name === 'admin' ? 'kubeconfig' : `${name}.kubeconfig`)
    const pair = await pki.issue({ name, commonName, ...(organization === undefined ? {} : { organization }) })
    writeKubeconfig(file, contextName, server, pki.authority.certificate, pair)
    return file
  }
  const auditPolicyFile = join(plan.folder, 'audit-policy.json')
  writeFileSync(auditPolicyFile, JSON.stringify(auditPolicy(plan.unauditedUsers)))
  return {
    authority: pki.authority.certificate,
    authorityKey: pki.authority.key,
    signingKey: await pki.signingKey(),
    apiServer: await pki.issue({
      name: 'kube-apiserver',
      commonName: 'kube-apiserver',
      alternativeNames: serverNames(plan),
    }),
    apiServerClient: await pki.issue({
      name: 'apiserver-client',
      commonName: 'kube-apiserver-client',
      organization: 'system:masters',
    }),
    etcd: await pki.issue({ name: 'etcd', commonName: 'etcd', alternativeNames: ['IP:127.0.0.1', 'DNS:localhost'] }),
    auditPolicy: auditPolicyFile,
    auditLog: join(logs, 'audit.log'),
    adminKubeconfig: await kubeconfig('admin', 'admin', 'system:masters'),
    controllerManagerKubeconfig: await kubeconfig('controller-manager', 'system:kube-controller-manager'),
    schedulerKubeconfig: await kubeconfig('scheduler', 'system:kube-scheduler'),
  }
}

function serverNames(plan: ControlPlanePlan): string[] {
  const service = 'kubernetes.default.svc.cluster.local'.split('.')
  const serviceNames = [1, 2, 3, 5].map((parts) => `DNS:${service.slice(0, parts).join('.')}`)
  return [
    ...new Set([`IP:${plan.address}`, 'IP:127.0.0.1', 'DNS:localhost', ...plan.alternativeNames, ...serviceNames]),
  ]
}

/** Metadata of every finished request, except those of the cluster's own parts. */
export function auditPolicy(unauditedUsers: readonly string[]): object {
  return {
    apiVersion: 'audit.k8s.io/v1',
    kind: 'Policy',
    omitStages: ['RequestReceived'],
    rules: [
      { level: 'None', users: unauditedUsers },
      { level: 'None', userGroups: ['system:nodes', 'system:serviceaccounts:kube-system'] },
      { level: 'None', nonResourceURLs: ['/healthz*', '/livez*', '/readyz*'] },
      { level: 'Metadata' },
    ],
  }
}

/** The cluster's own identities that need no audit. */
export const clusterUsers: readonly string[] = [
  'system:apiserver',
  'system:kube-controller-manager',
  'system:kube-scheduler',
  'system:kube-proxy',
]

/** etcd's command line. It does not wait for the disk: a cluster that can be made again in a minute needs no durability. */
export function etcdCommand(plan: ControlPlanePlan, files: ControlPlaneFiles): string[] {
  const client = `https://127.0.0.1:${plan.etcdPort}`
  const peer = `http://127.0.0.1:${plan.etcdPeerPort}`
  return [
    'etcd',
    '--name=local',
    `--data-dir=${join(plan.folder, 'etcd')}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=local=${peer}`,
    `--cert-file=${files.etcd.certificate}`,
    `--key-file=${files.etcd.key}`,
    `--trusted-ca-file=${files.authority}`,
    '--client-cert-auth=true',
    '--unsafe-no-fsync=true',
    '--log-level=warn',
  ]
}

/** kube-apiserver's command line, with Kubernetes' own defaults for features and admission. */
export function apiServerCommand(plan: ControlPlanePlan, files: ControlPlaneFiles): string[] {
  return [
    'kube-apiserver',
    `--bind-address=${plan.address}`,
    `--advertise-address=${plan.address}`,
    `--secure-port=${plan.apiPort}`,
    `--etcd-servers=https://127.0.0.1:${plan.etcdPort}`,
    `--etcd-cafile=${files.authority}`,
    `--etcd-certfile=${files.apiServerClient.certificate}`,
    `--etcd-keyfile=${files.apiServerClient.key}`,
    `--client-ca-file=${files.authority}`,
    `--tls-cert-file=${files.apiServer.certificate}`,
    `--tls-private-key-file=${files.apiServer.key}`,
    `--kubelet-certificate-authority=${files.authority}`,
    `--kubelet-client-certificate=${files.apiServerClient.certificate}`,
    `--kubelet-client-key=${files.apiServerClient.key}`,
    '--kubelet-preferred-address-types=InternalIP',
    '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
    `--service-account-key-file=${files.signingKey}`,
    `--service-account-signing-key-file=${files.signingKey}`,
    `--service-cluster-ip-range=${plan.serviceRange}`,
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    '--allow-privileged=true',
    `--audit-policy-file=${files.auditPolicy}`,
    `--audit-log-path=${files.auditLog}`,
    '--audit-log-maxsize=50',
    '--audit-log-maxbackup=2',
    '--profiling=false',
    '--shutdown-delay-duration=0s',
  ]
}

/** kube-controller-manager's command line. */
export function controllerManagerCommand(plan: ControlPlanePlan, files: ControlPlaneFiles): string[] {
  return [
    'kube-controller-manager',
    ...listening(plan, plan.controllerManagerPort, files.controllerManagerKubeconfig),
    `--service-account-private-key-file=${files.signingKey}`,
    `--root-ca-file=${files.authority}`,
    `--cluster-signing-cert-file=${files.authority}`,
    `--cluster-signing-key-file=${files.authorityKey}`,
    '--use-service-account-credentials=true',
    // Its default is a folder of the machine, which it would make.
    `--flex-volume-plugin-dir=${join(plan.folder, 'flex-volumes')}`,
  ]
}

/** kube-scheduler's command line. */
export function schedulerCommand(plan: ControlPlanePlan, files: ControlPlaneFiles): string[] {
  return ['kube-scheduler', ...listening(plan, plan.schedulerPort, files.schedulerKubeconfig)]
}

function listening(plan: ControlPlanePlan, port: number, kubeconfig: string): string[] {
  return [
    `--kubeconfig=${kubeconfig}`,
    `--authentication-kubeconfig=${kubeconfig}`,
    `--authorization-kubeconfig=${kubeconfig}`,
    '--authentication-tolerate-lookup-failure=true',
    `--bind-address=${plan.address}`,
    `--secure-port=${port}`,
    '--leader-elect=false',
    '--profiling=false',
  ]
}
