// Does a live object still say what we want? Compared over the fields that we own: what others added is left alone, what we
// once applied and no longer want counts as a difference. Pure; the writing is in reconcile.ts.

import { isMap, type Json } from './desired/json.ts'
import { listKeys } from './desired/listkeys.ts'
import type { KubeObject, ManagedFieldsEntry } from './objects.ts'

/** Maps whose values are quantities: `1000m` and `1` are the same. */
const quantityMaps = new Set(['requests', 'limits', 'overhead'])
/** Single fields that hold a quantity: of a volume claim, of an emptyDir, of a variable taken from a resource. */
const quantityFields = new Set(['storage', 'sizeLimit', 'divisor'])

/**
 * The path of the first thing that applying `desired` as `manager` would change in `live`; undefined when nothing would.
 * `status` is not looked at.
 */
export function difference(desired: KubeObject, live: KubeObject, manager: string): string | undefined {
  const wanted: Json = { ...desired, metadata: writable(desired) }
  return missing(wanted, live, '', '') ?? stale(live.metadata.managedFields ?? [], manager, wanted)
}

function writable(object: KubeObject): Json {
  const { labels, annotations, ownerReferences } = object.metadata
  return {
    ...(labels ? { labels } : {}),
    ...(annotations ? { annotations } : {}),
    ...(ownerReferences ? { ownerReferences } : {}),
  }
}

function missing(desired: unknown, live: unknown, field: string, path: string): string | undefined {
  if (desired === undefined || desired === null) return undefined
  if (Array.isArray(desired)) return missingInList(desired, live, field, path)
  if (isMap(desired)) return missingInMap(desired, live, field, path)
  const same = desired === live || isZero(desired, live) || (quantityFields.has(field) && sameQuantity(desired, live))
  return same ? undefined : path
}

/** The API server leaves out fields that hold their type's zero. */
function isZero(desired: unknown, live: unknown): boolean {
  return live === undefined && (desired === '' || desired === 0 || desired === false)
}

function missingInMap(desired: Json, live: unknown, field: string, path: string): string | undefined {
  if (!isMap(live)) {
    // An empty map is the same as none, but for the one that chooses a kind of volume.
    const none = live === undefined && Object.keys(desired).length === 0 && field !== 'emptyDir'
    return none ? undefined : path
  }
  for (const [name, value] of Object.entries(desired)) {
    const at = `${path}.${name}`
    if (quantityMaps.has(field)) {
      if (!sameQuantity(value, live[name])) return at
      continue
    }
    const inner = missing(value, live[name], name, at)
    if (inner !== undefined) return inner
  }
  return undefined
}

function missingInList(desired: unknown[], live: unknown, field: string, path: string): string | undefined {
  if (live === undefined && desired.length === 0) return undefined
  if (!Array.isArray(live)) return path
  const key = field === 'ports' && desired.some((item) => isMap(item) && 'port' in item) ? 'port' : listKeys[field]
  if (key === undefined) {
    if (desired.length !== live.length) return path
    for (const [at, item] of desired.entries()) {
      const inner = missing(item, live[at], '', `${path}[${at}]`)
      if (inner !== undefined) return inner
    }
    return undefined
  }
  for (const item of desired) {
    if (!isMap(item)) return path
    const twin: unknown = live.find((other) => isMap(other) && other[key] === item[key])
    const inner = missing(item, twin ?? null, '', `${path}[${String(item[key])}]`)
    if (inner !== undefined) return inner
  }
  return undefined
}

/** The path of a field that `manager` once applied and that `desired` no longer has. */
function stale(entries: ManagedFieldsEntry[], manager: string, desired: Json): string | undefined {
  for (const entry of entries) {
    if (entry.manager !== manager || entry.operation !== 'Apply' || (entry.subresource ?? '') !== '') continue
    const found = staleIn(entry.fieldsV1 ?? {}, desired, '')
    if (found !== undefined) return found
  }
  return undefined
}

/** Walks a FieldsV1 tree: `f:x` is a field, `k:{...}` an item of a keyed list, `v:...` an item of a set, `.` the thing itself. */
function staleIn(fields: Json, desired: unknown, path: string): string | undefined {
  for (const [token, inner] of Object.entries(fields)) {
    if (token === '.' || token.startsWith('v:')) continue
    const name = token.slice(2)
    const value = token.startsWith('f:') ? (isMap(desired) ? desired[name] : undefined) : itemByKeys(desired, name)
    if (value === undefined || value === null) return `${path}.${name}`
    const found = isMap(inner) ? staleIn(inner, value, `${path}.${name}`) : undefined
    if (found !== undefined) return found
  }
  return undefined
}

function itemByKeys(list: unknown, keysJson: string): unknown {
  if (!Array.isArray(list)) return undefined
  const keys = Object.entries(JSON.parse(keysJson) as Json)
  // A key that the server filled in by default (a port's protocol) may be absent in what we wrote.
  return list.find(
    (item) => isMap(item) && keys.every(([key, value]) => item[key] === undefined || item[key] === value),
  )
}

const suffixes: Record<string, number> = {
  n: 1e-9, u: 1e-6, m: 1e-3, '': 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18,
  Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60,
} // prettier-ignore

function sameQuantity(a: unknown, b: unknown): boolean {
  const [left, right] = [quantity(a), quantity(b)]
  return left !== undefined && right !== undefined ? Math.abs(left - right) <= Math.abs(left) * 1e-12 : a === b
}

/** The number that a Kubernetes quantity stands for; undefined when it is none. */
export function quantity(value: unknown): number | undefined {
  const match = /^([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkMGTPE]|[KMGTPE]i)?$/.exec(String(value))
  const factor = match && suffixes[match[2] ?? '']
  const digits = Number(match?.[1])
  return factor === undefined || factor === null || Number.isNaN(digits) ? undefined : digits * factor
}
