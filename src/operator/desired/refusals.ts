// What a podTemplate may not say: what the operator must own, what can't be merged, and what would give a pod more rights than the
// author of the TaskQueue is known to have. Each refusal says what to do instead. CEL can't see inside podTemplate.spec.

import type { PodTemplateOverlay } from '../taskqueue.ts'
import { COMPANION } from './companion.ts'
import type { OverlayPolicy } from './inputs.ts'
import { isMap, type Json } from './json.ts'
import { listKeys } from './listkeys.ts'
import { labelKeys } from './names.ts'
import { podViolations } from './podsecurity.ts'

const owned: Record<string, string> = {
  restartPolicy: 'the operator sets it: Always for workers, OnFailure for beat',
  terminationGracePeriodSeconds: 'it follows from maxTaskSeconds: set that instead',
}
/** Beyond the restricted Pod Security Standard (podsecurity.ts): what lends a pod more than the TaskQueue's author may have. */
const privileged: Record<string, string> = {
  hostUsers: 'it chooses the user namespace of the node',
  serviceAccountName: 'it lends the pod the rights of that account',
  serviceAccount: 'it lends the pod the rights of that account',
  nodeName: 'it goes around the scheduler',
}
const instead = 'ask the platform team to set policy.allowPrivilegedPods in the chart, or leave it out'

/** One sentence for each thing that the overlay at `field` may not say; none when all is well. */
export function refusals(overlay: PodTemplateOverlay | undefined, field: string, policy: OverlayPolicy): string[] {
  if (overlay === undefined) return []
  const spec = map(overlay.spec)
  const found = reservedKeys(overlay, field)
  for (const [name, why] of Object.entries(owned)) {
    if (spec[name] !== undefined) found.push(`${field}.spec.${name} can not be set: ${why}.`)
  }
  findDirectives(overlay, field, found)
  findMisshapen(spec, `${field}.spec`, found)
  if (!policy.allowPrivilegedPods) {
    for (const [name, why] of Object.entries(privileged)) {
      if (spec[name] !== undefined) found.push(`${field}.spec.${name} is not allowed, since ${why}: ${instead}.`)
    }
  }
  if (containers(spec).some(({ name }) => name === COMPANION))
    found.push(`${field}.spec may not change the container "${COMPANION}": it is the operator's. See spec.clockSync.`)
  return found
}

function reservedKeys({ metadata }: PodTemplateOverlay, field: string): string[] {
  return (['labels', 'annotations'] as const).flatMap((kind) =>
    Object.keys(metadata?.[kind] ?? {})
      .filter(isReserved)
      .map((key) => `${field}.metadata.${kind}["${key}"] is the operator's own: choose another.`),
  )
}

function isReserved(key: string): boolean {
  return key.startsWith('taskqueue.dev/') || key === labelKeys.managedBy
}

/** A pod that would be built, by the name that a person has for it. */
export interface BuiltPod {
  name: string
  annotations: Readonly<Record<string, string>>
  spec: unknown
}

/** One sentence for each thing that keeps the pods, with every overlay merged in, from being restricted. */
export function securityRefusals(pods: readonly BuiltPod[], policy: OverlayPolicy): string[] {
  if (policy.allowPrivilegedPods) return []
  const where = new Map<string, string[]>()
  for (const { name, annotations, spec } of pods) {
    // As it would be sent: what JSON leaves out, nobody gets to see.
    const sent = JSON.parse(JSON.stringify(spec)) as unknown
    for (const violation of podViolations(map(sent), annotations))
      where.set(violation, [...(where.get(violation) ?? []), name])
  }
  return [...where].map(
    ([violation, names]) =>
      `podTemplate breaks the restricted Pod Security Standard in ${names.join(', ')}: ${violation}; or ${instead}.`,
  )
}

/** Maps whose keys are anybody's, such as a label named `env`. */
const freeForm = new Set(['nodeSelector', 'matchLabels', 'labels', 'annotations', 'requests', 'limits', 'overhead'])

/** Lists whose items are known by a field of theirs can only be merged when they are that. */
function findMisshapen(value: unknown, field: string, found: string[]): void {
  if (Array.isArray(value)) {
    for (const [at, item] of value.entries()) findMisshapen(item, `${field}[${at}]`, found)
  } else if (isMap(value)) {
    for (const [name, inner] of Object.entries(value)) {
      if (freeForm.has(name)) continue
      const key = listKeys[name]
      const at = `${field}.${name}`
      if (key !== undefined && !isKeyedList(inner, key))
        found.push(`${at} must be a list of objects that each have "${key}": write the items to add or to change.`)
      else findMisshapen(inner, at, found)
    }
  }
}

function isKeyedList(value: unknown, key: string): boolean {
  return (
    Array.isArray(value) &&
    value.every((item) => isMap(item) && (typeof item[key] === 'string' || typeof item[key] === 'number'))
  )
}

function findDirectives(value: unknown, field: string, found: string[]): void {
  if (Array.isArray(value)) for (const item of value) findDirectives(item, field, found)
  else if (typeof value === 'object' && value !== null) {
    for (const [name, inner] of Object.entries(value)) {
      if (name === '__proto__')
        found.push(`${field} has a field "__proto__", which no object of Kubernetes has: remove it.`)
      else if (name.startsWith('$'))
        found.push(`${field} uses "${name}": patch directives are not read here; write null to remove a field.`)
      else findDirectives(inner, field, found)
    }
  }
}

function containers(spec: Json): Json[] {
  return [...list(spec.containers), ...list(spec.initContainers)]
}

function list(value: unknown): Json[] {
  return Array.isArray(value) ? value.filter(isMap) : []
}

function map(value: unknown): Json {
  return isMap(value) ? value : {}
}
