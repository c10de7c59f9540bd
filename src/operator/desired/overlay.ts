// Merges a podTemplate overlay into a template the way kubectl merges: maps by key, lists of named things by their name, all
// other lists as a whole, null deletes. Not a patch language: `$patch` and its kin are refused (refusals.ts).

import { isMap, type Json } from './json.ts'
import { listKeys } from './listkeys.ts'

/** A new value with the overlay merged in; neither argument is changed. */
export function mergeOverlay<T>(base: T, overlay: unknown): T {
  return mergeValue(base, overlay, '') as T
}

function mergeValue(base: unknown, overlay: unknown, field: string): unknown {
  if (overlay === undefined) return base
  if (Array.isArray(overlay)) {
    const key = listKeys[field]
    return key !== undefined && Array.isArray(base) ? mergeList(base, overlay, key) : overlay
  }
  if (isMap(overlay)) return mergeMap(isMap(base) ? base : {}, overlay)
  return overlay
}

function mergeMap(base: Json, overlay: Json): Json {
  const merged: Json = { ...base }
  for (const [field, value] of Object.entries(overlay)) {
    if (value === null) Reflect.deleteProperty(merged, field)
    else merged[field] = mergeValue(merged[field], value, field)
  }
  return merged
}

function mergeList(base: unknown[], overlay: unknown[], key: string): unknown[] {
  const merged = [...base]
  for (const item of overlay) {
    const at = isMap(item) ? merged.findIndex((known) => isMap(known) && known[key] === item[key]) : -1
    if (at >= 0) merged[at] = mergeValue(merged[at], item, '')
    else merged.push(item)
  }
  return merged
}
