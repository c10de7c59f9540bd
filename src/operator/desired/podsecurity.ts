// The restricted Pod Security Standard of Kubernetes 1.36, checked on a whole pod spec after every overlay was merged: what matters
// is the pod that would run, not how it came about. Pure. Not a webhook: it says what the operator will not write.
// https://kubernetes.io/docs/concepts/security/pod-security-standards/

import { isMap, type Json } from './json.ts'

const volumeKinds = new Set([
  'configMap', 'csi', 'downwardAPI', 'emptyDir', 'ephemeral', 'image', 'persistentVolumeClaim', 'projected', 'secret',
]) // prettier-ignore
const safeSysctls = new Set([
  'kernel.shm_rmid_forced', 'net.ipv4.ip_local_port_range', 'net.ipv4.ip_unprivileged_port_start',
  'net.ipv4.tcp_syncookies', 'net.ipv4.ping_group_range', 'net.ipv4.ip_local_reserved_ports',
  'net.ipv4.tcp_keepalive_time', 'net.ipv4.tcp_fin_timeout', 'net.ipv4.tcp_keepalive_intvl', 'net.ipv4.tcp_keepalive_probes',
]) // prettier-ignore
const seLinuxTypes = new Set(['', 'container_t', 'container_init_t', 'container_kvm_t', 'container_engine_t'])
const confinedSeccomp = new Set(['RuntimeDefault', 'Localhost'])

/** How AppArmor was chosen before there was a field for it; still obeyed. */
const APPARMOR = 'container.apparmor.security.beta.kubernetes.io/'

/** What the pod may not have, one phrase each, every one with its path below the pod's spec; none when the pod is restricted. */
export function podViolations(spec: Json, annotations: Readonly<Record<string, string>> = {}): string[] {
  const context = map(spec.securityContext)
  return [
    ...(['hostNetwork', 'hostPID', 'hostIPC'] as const).flatMap((field) =>
      spec[field] === true ? [`${field} shares the node's: remove it`] : [],
    ),
    ...list(spec.volumes).flatMap(volumeViolations),
    ...list(context.sysctls).flatMap(({ name }) =>
      safeSysctls.has(String(name)) ? [] : [`securityContext.sysctls: ${String(name)} is not a safe one: remove it`],
    ),
    ...confinement(context, 'securityContext'),
    ...(['initContainers', 'containers', 'ephemeralContainers'] as const).flatMap((field) =>
      list(spec[field]).flatMap((container) => containerViolations(container, context, field)),
    ),
    ...accountViolations(spec),
    ...Object.entries(annotations)
      .filter(([name, value]) => name.startsWith(APPARMOR) && !/^(runtime\/default|localhost\/.*)?$/.test(value))
      .map(([name]) => `metadata.annotations["${name}"] must be runtime/default: remove it`),
  ]
}

/** A pod of ours never talks to the API server, and whoever writes TaskQueues is not thereby trusted with an account's rights. */
function accountViolations(spec: Json): string[] {
  const found: string[] = []
  if (spec.automountServiceAccountToken !== false)
    found.push("automountServiceAccountToken must stay false: it hands out the account's token")
  for (const volume of list(spec.volumes)) {
    const lends = list(map(volume.projected).sources).some((source) => source.serviceAccountToken !== undefined)
    if (lends) found.push(`volumes["${String(volume.name)}"] projects a service account's token: remove it`)
  }
  return found
}

function volumeViolations(volume: Json): string[] {
  return Object.keys(volume)
    .filter((kind) => kind !== 'name' && !volumeKinds.has(kind))
    .map((kind) => `volumes["${String(volume.name)}"] is a ${kind}: use ${[...volumeKinds].join(', ')}`)
}

/** `pod` is the pod's own context, which a container inherits where it says nothing. */
function containerViolations(container: Json, pod: Json, field: string): string[] {
  const name = `${field}["${String(container.name)}"]`
  const context = map(container.securityContext)
  return [
    ...contextViolations(context, pod).map((violation) => `${name}.securityContext.${violation}`),
    ...confinement(context, `${name}.securityContext`),
    ...handlers(container)
      .filter((handler) => (map(handler.httpGet).host ?? map(handler.tcpSocket).host ?? '') !== '')
      .map(() => `${name} has a probe or hook with a host: remove it, the pod itself is meant`),
    ...list(container.ports)
      .filter((port) => (port.hostPort ?? 0) !== 0)
      .map(() => `${name}.ports: hostPort opens the node's port: remove it`),
  ]
}

function contextViolations(context: Json, pod: Json): string[] {
  const capabilities = map(context.capabilities)
  const added = strings(capabilities.add).filter((name) => name !== 'NET_BIND_SERVICE')
  const seccomp = map(context.seccompProfile ?? pod.seccompProfile).type
  const rules: [kept: boolean, violation: string][] = [
    [context.privileged !== true, 'privileged must not be true'],
    [context.allowPrivilegeEscalation === false, 'allowPrivilegeEscalation must be false'],
    [strings(capabilities.drop).includes('ALL'), 'capabilities.drop must have ALL'],
    [added.length === 0, `capabilities.add may only have NET_BIND_SERVICE, not ${added.join(', ')}`],
    [(context.procMount ?? 'Default') === 'Default', 'procMount must be Default'],
    [(context.runAsNonRoot ?? pod.runAsNonRoot) === true, 'runAsNonRoot must be true'],
    [confinedSeccomp.has(String(seccomp)), 'seccompProfile.type must be RuntimeDefault or Localhost'],
  ]
  return rules.filter(([kept]) => !kept).map(([, violation]) => violation)
}

/** Probes and lifecycle hooks, which the kubelet runs from the node's network. */
function handlers(container: Json): Json[] {
  const { postStart, preStop } = map(container.lifecycle)
  return [container.livenessProbe, container.readinessProbe, container.startupProbe, postStart, preStop].map(map)
}

/** What holds for the pod's context and for a container's alike. */
function confinement(context: Json, at: string): string[] {
  const found: string[] = []
  if (context.runAsUser === 0) found.push(`${at}.runAsUser must not be 0`)
  if (map(context.windowsOptions).hostProcess === true) found.push(`${at}.windowsOptions.hostProcess must not be true`)
  if (map(context.appArmorProfile).type === 'Unconfined')
    found.push(`${at}.appArmorProfile.type must not be Unconfined`)
  if (map(context.seccompProfile).type === 'Unconfined') found.push(`${at}.seccompProfile.type must not be Unconfined`)
  const { type = '', user = '', role = '' } = map(context.seLinuxOptions)
  if (!seLinuxTypes.has(String(type)) || user !== '' || role !== '')
    found.push(`${at}.seLinuxOptions may set a container type and a level only`)
  return found
}

function list(value: unknown): Json[] {
  return Array.isArray(value) ? value.filter(isMap) : []
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : []
}

function map(value: unknown): Json {
  return isMap(value) ? value : {}
}
