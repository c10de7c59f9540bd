// The time of this tier's cluster: a chronyd that serves the machine's own clock, and the chart's chronyd on the node that follows it and
// never touches a clock (-x).

import type { Image } from '../../deploy/local/images.ts'

/** May do what pods of the restricted standard may not. */
export const CLOCK_NAMESPACE = 'e2e-clock'
export const NTP_SERVER = `ntp.${CLOCK_NAMESPACE}.svc.cluster.local`

/** Values of the chart. */
export function disciplineValues({ reference }: Image): Record<string, unknown> {
  const colon = reference.lastIndexOf(':')
  return {
    policy: { allowDiscipline: true },
    discipline: {
      namespace: CLOCK_NAMESPACE,
      image: { repository: reference.slice(0, colon), tag: reference.slice(colon + 1) },
      servers: [NTP_SERVER],
      extraArgs: ['-x'],
    },
  }
}

export function timeServer(image: Image): object[] {
  const labels = { app: 'ntp' }
  const metadata = { name: 'ntp', namespace: CLOCK_NAMESPACE, labels }
  const config = 'local stratum 2\nallow all\ncmdport 0\npidfile /run/chrony/chronyd.pid\n'
  const container = {
    name: 'chronyd',
    image: image.reference,
    imagePullPolicy: 'IfNotPresent',
    args: ['-x', '-f', '/etc/taskqueue/chrony.conf'],
    volumeMounts: [
      { name: 'config', mountPath: '/etc/taskqueue' },
      { name: 'run', mountPath: '/run/chrony' },
    ],
  }
  const volumes = [
    { name: 'config', configMap: { name: 'ntp' } },
    { name: 'run', emptyDir: {} },
  ]
  const template = { metadata: { labels }, spec: { containers: [container], volumes } }
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: CLOCK_NAMESPACE } },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { 'chrony.conf': config } },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: { selector: labels, ports: [{ port: 123, protocol: 'UDP' }] },
    },
    { apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec: { selector: { matchLabels: labels }, template } },
  ]
}
