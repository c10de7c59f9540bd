// Instants on the wire and in options: eta, expires and countdown. An instant without an offset is refused, never guessed.
import { UsageError } from '../errors.ts'

/** What an `eta` or `expires` may be: ISO-8601 text with an offset, a Date, or a Temporal.Instant or ZonedDateTime. */
export type InstantLike = string | Date | { readonly epochMilliseconds: number }

const ISO =
  /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?:([Zz])|([+-])(\d\d):?(\d\d)(?::?\d\d(?:\.\d+)?)?)?(?:\[[^\]]*\])*$/

/** Instants further away than this are taken for mistakes (a number of milliseconds read as seconds, a wrong century). */
export const MAX_AHEAD_MS = 10 * 366 * 86_400_000

/**
 * Milliseconds since the epoch of an ISO-8601 instant.
 * @throws UsageError `EtaWithoutOffset` for a local time, `EtaInvalid` for what is no instant at all.
 */
export function parseInstant(text: string): number {
  const match = ISO.exec(text.trim())
  if (!match)
    throw new UsageError('EtaInvalid', `${quote(text)} is not an ISO-8601 instant such as 2026-01-31T09:00:00Z`)
  const [, year, month, day, hour, minute, second = '0', fraction = '0', zulu, sign, offsetHours, offsetMinutes] = match
  if (!zulu && !sign) {
    throw new UsageError(
      'EtaWithoutOffset',
      `${quote(text)} has no offset, so it names a different instant in every zone: append Z or an offset such as +08:00`,
    )
  }
  const parts = [Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second)] as const
  const milliseconds = Math.floor(Number(`0.${fraction}`) * 1000)
  const local = Date.UTC(...parts, milliseconds)
  const back = new Date(local)
  const valid =
    back.getUTCMonth() === parts[1] &&
    back.getUTCDate() === parts[2] &&
    parts[3] <= 23 &&
    parts[4] <= 59 &&
    parts[5] <= 59
  const offset = (sign === '-' ? -1 : 1) * (Number(offsetHours ?? 0) * 60 + Number(offsetMinutes ?? 0)) * 60_000
  if (!valid || Math.abs(offset) > 24 * 3_600_000) {
    throw new UsageError('EtaInvalid', `${quote(text)} names a date or a time that does not exist`)
  }
  return local - offset
}

/**
 * Milliseconds since the epoch of an option's instant.
 * @throws UsageError `EtaInvalid` or `EtaWithoutOffset` (a PlainDateTime has no offset either).
 */
export function instantMs(value: unknown): number {
  if (typeof value === 'string') return parseInstant(value)
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw new UsageError('EtaInvalid', 'the Date given is an invalid Date')
    return value.getTime()
  }
  if (typeof value === 'object' && value !== null) {
    const epoch: unknown = Reflect.get(value, 'epochMilliseconds')
    if (typeof epoch === 'number' && Number.isFinite(epoch)) return epoch
    // Temporal's plain types print themselves without an offset, so the parser's message fits them.
    const tag: unknown = Reflect.get(value, Symbol.toStringTag)
    if (typeof tag === 'string' && tag.startsWith('Temporal.'))
      return parseInstant((value as { toString(): string }).toString())
  }
  throw new UsageError(
    'EtaInvalid',
    `an instant must be ISO-8601 text with an offset, a Date, a Temporal.Instant or a Temporal.ZonedDateTime; got ${typeof value}`,
  )
}

/** ISO-8601 in UTC with an offset, as Celery writes it: `2026-01-31T09:00:00.123000+00:00`. */
export function formatInstant(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace('Z', '000+00:00')
}

/**
 * When a task shall start at the earliest, or undefined for at once.
 * @param options.countdown seconds from now, 0 or more
 * @param now milliseconds since the epoch
 * @throws UsageError `EtaAndCountdown`, `CountdownInvalid`, `EtaInvalid`, `EtaWithoutOffset`
 */
export function startTime(
  options: { eta?: InstantLike | undefined; countdown?: number | undefined },
  now: number,
): number | undefined {
  const { eta, countdown } = options
  if (eta !== undefined && countdown !== undefined) {
    throw new UsageError('EtaAndCountdown', 'eta and countdown say the same thing twice: give one of them')
  }
  if (countdown !== undefined) {
    if (typeof countdown !== 'number' || !Number.isFinite(countdown) || countdown < 0) {
      throw new UsageError('CountdownInvalid', `countdown is seconds from now, 0 or more; got ${String(countdown)}`)
    }
    return withinReach(now + countdown * 1000, now)
  }
  return eta === undefined ? undefined : withinReach(instantMs(eta), now)
}

function withinReach(instant: number, now: number): number {
  if (instant - now > MAX_AHEAD_MS) {
    throw new UsageError(
      'EtaInvalid',
      `the start time is more than ten years away (${Math.round((instant - now) / 86_400_000)} days): eta is an instant, countdown is in seconds`,
    )
  }
  return instant
}

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text)
}
