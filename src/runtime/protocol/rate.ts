// Celery's rates, "10/s", "100/m", "5/h": how often a task may begin.
import { UsageError } from '../errors.ts'

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 }

/** Milliseconds between two beginnings; 0 for no limit. @throws UsageError `OptionInvalid` */
export function parseRate(text: string): number {
  const [, count = '', unit = 's'] = /^(\d+(?:\.\d+)?)(?:\/([smh]))?$/.exec(text.trim()) ?? []
  const perUnit = Number(count)
  if (count === '') throw new UsageError('OptionInvalid', `a rate limit is such as 10/s, 100/m or 5/h; got ${text}`)
  return perUnit === 0 ? 0 : ((SECONDS[unit] ?? 1) * 1000) / perUnit
}
