// From a live object back to what the operator sent: the fields that it owns by managedFields, and what it says of the owner. So that
// the raw loader and the rivals make the very same, without what the API server added.
import type { KubeObject } from '../../src/operator/objects.ts'

type Json = Record<string, unknown>

const managers = new Set(['taskqueue-operator', 'taskqueue-scaler'])

export function applied(live: KubeObject): KubeObject {
  const { name, namespace = '', managedFields = [] } = live.metadata
  let kept: Json = {}
  for (const { manager = '', subresource = '', fieldsV1 } of managedFields) {
    // The number of pods is written by its subresource.
    if (!managers.has(manager) || subresource === 'status') continue
    kept = merged(kept, pick(live, fieldsV1 ?? {}))
  }
  const metadata = { ...(kept.metadata as Json), name, namespace }
  return { ...kept, apiVersion: live.apiVersion, kind: live.kind, metadata }
}

/** The part of a value that a FieldsV1 tree names: `f:x` a field, `k:{...}` an item of a keyed list, `v:...` one of a set. */
function pick(value: unknown, fields: Json): Json {
  const found: Json = {}
  for (const [token, inner] of Object.entries(fields)) {
    if (!token.startsWith('f:')) continue
    const name = token.slice(2)
    const part = (value as Json)[name]
    if (part !== undefined) found[name] = picked(part, inner as Json)
  }
  return found
}

function picked(value: unknown, fields: Json): unknown {
  const tokens = Object.keys(fields).filter((token) => token !== '.')
  if (tokens.length === 0) return value
  if (!Array.isArray(value)) return pick(value, fields)
  return value.flatMap((item: unknown) => {
    const token = tokens.find((each) => names(each, item))
    if (token === undefined) return []
    const inner = fields[token] as Json
    // Without fields of its own an item is owned as a whole: an owner reference.
    const whole = typeof item !== 'object' || Object.keys(inner).length === 0
    return [whole ? item : { ...keys(token), ...pick(item, inner) }]
  })
}

function names(token: string, item: unknown): boolean {
  if (token.startsWith('v:')) return JSON.stringify(item) === token.slice(2)
  return Object.entries(keys(token)).every(([key, value]) => (item as Json)[key] === value)
}

function keys(token: string): Json {
  return token.startsWith('k:') ? (JSON.parse(token.slice(2)) as Json) : {}
}

function merged(a: Json, b: Json): Json {
  const all: Json = { ...a }
  for (const [name, value] of Object.entries(b)) {
    const other = all[name]
    all[name] = isMap(other) && isMap(value) ? merged(other, value) : value
  }
  return all
}

function isMap(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
