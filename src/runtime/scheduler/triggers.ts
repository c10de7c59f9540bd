// Triggers as a Scheduler's jobs have them: made in code, and kept in a store as plain data.
import { parseAt } from '../triggers/at.ts'
import { parseCron } from '../triggers/cron.ts'
import { parseEvery } from '../triggers/every.ts'
import type { Trigger } from '../triggers/trigger.ts'
import { UsageError } from '../errors.ts'
import { formatInstant, instantMs, type InstantLike } from '../protocol/instant.ts'

/** A trigger as it is kept. */
export type TriggerSpec =
  | { readonly kind: 'cron'; readonly expression: string; readonly timeZone: string }
  | { readonly kind: 'every'; readonly seconds: number }
  /** ISO-8601 with an offset. */
  | { readonly kind: 'at'; readonly at: string }

/** By a cron expression of five fields, or six with seconds in front, in UTC unless a zone is named. @throws UsageError */
export function cron(expression: string, options: { readonly timeZone?: string } = {}): TriggerSpec {
  const spec = { kind: 'cron', expression, timeZone: options.timeZone ?? 'UTC' } as const
  triggerOf(spec)
  return spec
}

/** Every so many seconds, counted from the epoch: a restart doesn't shift it. @throws UsageError `IntervalInvalid` */
export function every(seconds: number): TriggerSpec {
  const spec = { kind: 'every', seconds } as const
  triggerOf(spec)
  return spec
}

/** Once, at an instant with an offset. @throws UsageError `EtaWithoutOffset`, `EtaInvalid` */
export function at(instant: InstantLike): TriggerSpec {
  return { kind: 'at', at: formatInstant(instantMs(instant)) }
}

/** @throws UsageError for data that is no trigger */
export function triggerOf(spec: TriggerSpec): Trigger {
  switch (spec.kind) {
    case 'cron':
      return parseCron(spec.expression, spec.timeZone)
    case 'every':
      return parseEvery(spec.seconds)
    case 'at':
      return parseAt(spec.at)
    default:
      throw new UsageError('TriggerInvalid', `${JSON.stringify(spec)} is no trigger: use cron(), every() or at()`)
  }
}
