// What a podTemplate may not say: what the operator must own, and what would give a pod more rights than the author of the
// TaskQueue is known to have. Each refusal says what to do instead. CEL can't see inside podTemplate.spec, so this is here.

import type { PodTemplateOverlay } from '../taskqueue.ts'
import { COMPANION } from './companion.ts'
import type { OverlayPolicy } from './inputs.ts'
import { isMap, type Json } from './json.ts'
import { labelKeys } from './names.ts'

const owned: Record<string, string> = {
  restartPolicy: 'the operator sets it: Always for workers, OnFailure for beat',
  terminationGracePeriodSeconds: 'it follows from maxTaskSeconds: set that instead',
}
const privileged: Record<string, string> = {
  hostNetwork: 'it shares the network of the node',
  hostPID: 'it shows the processes of the node',
  hostIPC: 'it shares memory with the node',
  hostUsers: 'it chooses the user namespace of the node',
  serviceAccountName: 'it lends the pod the rights of that account',
  serviceAccount: 'it lends the pod the rights of that account',
  nodeName: 'it goes around the scheduler',
}
const unsafeVolumes = new Set(['hostPath'])

/** One sentence for each thing that the overlay at `field` may not say; none when all is well. */
export function refusals(overlay: PodTemplateOverlay | undefined, field: string, policy: OverlayPolicy): string[] {
  if (overlay === undefined) return []
  const found: string[] = []
  const spec = map(overlay.spec)
  for (const label of Object.keys(overlay.metadata?.labels ?? {})) {
    if (isReserved(label))
      found.push(`${field}.metadata.labels["${label}"] is the operator's own label: choose another.`)
  }
  for (const name of Object.keys(overlay.metadata?.annotations ?? {})) {
    if (isReserved(name)) found.push(`${field}.metadata.annotations["${name}"] is the operator's own: choose another.`)
  }
  for (const [name, why] of Object.entries(owned)) {
    if (spec[name] !== undefined) found.push(`${field}.spec.${name} can not be set: ${why}.`)
  }
  findDirectives(overlay, field, found)
  if (!policy.allowPrivilegedPods) findPrivileges(spec, `${field}.spec`, found)
  for (const container of containers(spec)) {
    if (container.name === COMPANION) {
      found.push(`${field}.spec may not change the container "${COMPANION}": it is the operator's. See spec.clockSync.`)
    }
  }
  return found
}

function isReserved(key: string): boolean {
  return key.startsWith('taskqueue.dev/') || key === labelKeys.managedBy
}

function findPrivileges(spec: Json, field: string, found: string[]): void {
  const instead = 'ask the platform team to set policy.allowPrivilegedPods in the chart, or leave it out'
  for (const [name, why] of Object.entries(privileged)) {
    if (spec[name] !== undefined) found.push(`${field}.${name} is not allowed, since ${why}: ${instead}.`)
  }
  for (const volume of list(spec.volumes)) {
    for (const kind of Object.keys(volume)) {
      if (unsafeVolumes.has(kind))
        found.push(`${field}.volumes: ${kind} is not allowed, since it opens the node's files: ${instead}.`)
    }
  }
  for (const context of [map(spec.securityContext), ...containers(spec).map((c) => map(c.securityContext))]) {
    const loose =
      context.privileged === true ||
      context.allowPrivilegeEscalation === true ||
      context.runAsNonRoot === false ||
      context.runAsUser === 0 ||
      context.procMount === 'Unmasked' ||
      list(map(context.capabilities).add).length > 0 ||
      map(context.seccompProfile).type === 'Unconfined'
    if (loose) found.push(`${field} loosens a securityContext below the restricted Pod Security Standard: ${instead}.`)
  }
}

function findDirectives(value: unknown, field: string, found: string[]): void {
  if (Array.isArray(value)) for (const item of value) findDirectives(item, field, found)
  else if (typeof value === 'object' && value !== null) {
    for (const [name, inner] of Object.entries(value)) {
      if (name.startsWith('$'))
        found.push(`${field} uses "${name}": patch directives are not read here; write null to remove a field.`)
      else findDirectives(inner, field, found)
    }
  }
}

function containers(spec: Json): Json[] {
  return [...list(spec.containers), ...list(spec.initContainers)]
}

function list(value: unknown): Json[] {
  return Array.isArray(value)
    ? value.map((item) => (typeof item === 'object' ? map(item) : { value: item as unknown }))
    : []
}

function map(value: unknown): Json {
  return isMap(value) ? value : {}
}
