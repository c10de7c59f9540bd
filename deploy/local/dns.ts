// Names inside the cluster: the objects that run CoreDNS, and which resolvers it asks for all other names. Pure.
import { existsSync, readFileSync } from 'node:fs'
import type { ClusterSettings } from './settings.ts'

// Above 1023, so that it needs no privilege; the Service offers it as 53.
const port = 1053
const labels = { 'k8s-app': 'kube-dns' }
const metadata = (name: string) => ({ name, namespace: 'kube-system', labels })

/** The text of the resolv.conf that the cluster may use: the machine's, without resolvers that only the machine itself can reach. */
export function clusterResolvConf(read: (file: string) => string | undefined = readIfThere): string {
  // systemd-resolved's stub listens on a loopback address; the real servers are listed beside it.
  for (const file of ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf']) {
    const kept = withoutLoopback(read(file) ?? '')
    if (/^nameserver\s/m.test(kept)) return kept
  }
  return ''
}

/** A resolv.conf without nameservers on loopback addresses. */
export function withoutLoopback(text: string): string {
  const kept = text.split('\n').filter((line) => !/^\s*nameserver\s+(127\.|::1)/.test(line))
  return `${kept.join('\n').trimEnd()}\n`
}

function readIfThere(file: string): string | undefined {
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined
}

/** CoreDNS's configuration. */
export function corefile(upstream: boolean): string {
  return `.:${port} {
    errors
    health :8080 {
        lameduck 2s
    }
    ready :8181
    kubernetes cluster.local in-addr.arpa {
        pods insecure
        ttl 5
    }${upstream ? '\n    forward . /etc/resolv.conf' : ''}
    cache 5
    reload
}
`
}

/** Everything that makes names work in the cluster. */
export function dnsObjects(settings: ClusterSettings, image: string, upstream: boolean): object[] {
  const rules = [
    { apiGroups: [''], resources: ['endpoints', 'services', 'pods', 'namespaces'], verbs: ['list', 'watch'] },
    { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
  ]
  const role = 'system:coredns'
  const api = 'rbac.authorization.k8s.io'
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: metadata('coredns') },
    { apiVersion: `${api}/v1`, kind: 'ClusterRole', metadata: { name: role }, rules },
    {
      apiVersion: `${api}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name: role },
      roleRef: { apiGroup: api, kind: 'ClusterRole', name: role },
      subjects: [{ kind: 'ServiceAccount', name: 'coredns', namespace: 'kube-system' }],
    },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: metadata('coredns'), data: { Corefile: corefile(upstream) } },
    deployment(image),
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: metadata('kube-dns'),
      spec: {
        clusterIP: settings.addresses.dnsService,
        selector: labels,
        ports: [
          { name: 'dns', port: 53, protocol: 'UDP', targetPort: port },
          { name: 'dns-tcp', port: 53, protocol: 'TCP', targetPort: port },
        ],
      },
    },
  ]
}

function deployment(image: string): object {
  const container = {
    name: 'coredns',
    image,
    imagePullPolicy: 'IfNotPresent',
    args: ['-conf', '/etc/coredns/Corefile'],
    ports: [
      { name: 'dns', containerPort: port, protocol: 'UDP' },
      { name: 'dns-tcp', containerPort: port, protocol: 'TCP' },
    ],
    resources: { requests: { cpu: '10m', memory: '32Mi' }, limits: { memory: '128Mi' } },
    livenessProbe: { httpGet: { path: '/health', port: 8080 }, initialDelaySeconds: 10, failureThreshold: 5 },
    readinessProbe: { httpGet: { path: '/ready', port: 8181 }, periodSeconds: 2 },
    volumeMounts: [{ name: 'config', mountPath: '/etc/coredns', readOnly: true }],
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
      runAsNonRoot: true,
      runAsUser: 65532,
    },
  }
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: metadata('coredns'),
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          serviceAccountName: 'coredns',
          priorityClassName: 'system-cluster-critical',
          // The node's own resolvers, not the cluster's, which would be itself.
          dnsPolicy: 'Default',
          containers: [container],
          volumes: [{ name: 'config', configMap: { name: 'coredns' } }],
        },
      },
    },
  }
}
