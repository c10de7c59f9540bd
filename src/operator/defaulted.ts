// Fills in what a CRD of an older release leaves out: the API server gives the defaults of the CRD that it has, and no others. Pure. Which
// defaults there are is in defaults.ts.

import { isMap, type Json } from './desired/json.ts'

/** What of a schema has a default, and the way there. */
export interface Defaults {
  readonly default?: unknown
  readonly properties?: Readonly<Record<string, Defaults>>
  readonly items?: Defaults
}

/**
 * The value with the defaults of what it lacks; the very value when it lacks nothing.
 * @param lacking told the path of each field that was not there, such as `spec.workers[].probe`
 */
export function defaulted(value: unknown, defaults: Defaults, path: string, lacking: (path: string) => void): unknown {
  const { default: fallback, properties, items } = defaults
  if (value === undefined && fallback !== undefined) {
    lacking(path)
    // What a default holds may have defaults in turn, which nobody has to be told of one by one.
    return defaulted(structuredClone(fallback), defaults, path, () => undefined)
  }
  if (properties && isMap(value)) return filled(value, properties, path, lacking)
  if (!items || !Array.isArray(value)) return value
  const list: unknown[] = value
  const next = list.map((item) => defaulted(item, items, `${path}[]`, lacking))
  return next.some((item, at) => item !== list[at]) ? next : value
}

function filled(
  map: Json,
  properties: Readonly<Record<string, Defaults>>,
  path: string,
  lacking: (path: string) => void,
): Json {
  const changes = Object.entries(properties).flatMap(([name, inner]) => {
    const next = defaulted(map[name], inner, `${path}.${name}`, lacking)
    return next === map[name] ? [] : [[name, next] as const]
  })
  if (changes.length === 0) return map
  // In the order in which the API server hands fields out: what is written from them reads the same under both CRDs.
  return Object.fromEntries(
    Object.entries({ ...map, ...Object.fromEntries(changes) }).sort(([a], [b]) => (a < b ? -1 : 1)),
  )
}
