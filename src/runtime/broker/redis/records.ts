// Reads back the JSON records that others wrote into the store, of whatever version they were.
import type { BeatClock, Presence } from '../store.ts'

/** The object in a JSON text; undefined when there is none. */
export function parseObject(json: string): unknown {
  try {
    const value: unknown = JSON.parse(json)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** True when the fields that every reader relies on are there. */
export function isPresence(value: unknown): value is Presence {
  if (typeof value !== 'object' || value === null) return false
  const { id, counter, kind } = value as Record<string, unknown>
  return typeof id === 'string' && typeof counter === 'number' && typeof kind === 'string'
}

/** True when both figures are there and are figures. */
export function isBeatClock(value: unknown): value is BeatClock {
  if (typeof value !== 'object' || value === null) return false
  const { offsetSeconds, errorSeconds } = value as Record<string, unknown>
  return Number.isFinite(offsetSeconds) && Number.isFinite(errorSeconds)
}
