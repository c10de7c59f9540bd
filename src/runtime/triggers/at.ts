// A trigger with one slot: a date.
import { instantMs, type InstantLike } from '../protocol/instant.ts'
import type { Trigger } from './trigger.ts'

/**
 * A trigger that fires once.
 * @param instant with an offset: never read in the machine's own zone
 * @throws UsageError `EtaWithoutOffset` and the like
 */
export function parseAt(instant: InstantLike): Trigger {
  const slot = instantMs(instant)
  return { next: (after) => (after < slot ? slot : undefined), date: slot, fingerprint: `at ${slot}` }
}
