// What is known of this machine's clock at a moment. Plain data: unknown is absent, never 0.

export interface Measurement {
  /** This machine's clock minus the broker's, in seconds. */
  offsetSeconds: number
  /** How far the offset may be wrong: half of the round trip. Seconds. */
  errorSeconds: number
  /** When it was measured, on the monotonic clock in milliseconds. */
  at: number
}

/** A measurement older than this says nothing about now. */
export const STALE_MS = 60_000

/** The measurement, unless it is too old to be told. */
export function current(measurement: Measurement | undefined, monotonicNow: number): Measurement | undefined {
  return measurement && monotonicNow - measurement.at <= STALE_MS ? measurement : undefined
}
