// Intervals anchored to the epoch: slots are the multiples of the interval, whenever a process starts.
import { UsageError } from '../errors.ts'
import type { Trigger } from './trigger.ts'

/** A year; a longer interval is a date, which cron says better. */
const MOST_SECONDS = 366 * 86_400

/**
 * A trigger every so many seconds.
 * @param seconds from 0.001 to a year; parts of a millisecond are dropped
 * @throws UsageError `IntervalInvalid`
 */
export function parseEvery(seconds: number): Trigger {
  const period = Math.floor(seconds * 1000)
  if (!(period >= 1 && seconds <= MOST_SECONDS)) {
    throw new UsageError(
      'IntervalInvalid',
      `everySeconds is a number above 0 and up to ${MOST_SECONDS}; got ${String(seconds)}`,
    )
  }
  return {
    next: (after) => (Math.floor(after / period) + 1) * period,
    periodMs: period,
    fingerprint: `every ${period}`,
  }
}
