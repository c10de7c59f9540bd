// What follows from an attempt that failed: another one, and when, or the dead letters. Pure.
import { backoffMs } from '../broker/backoff.ts'
import { startTime } from '../protocol/instant.ts'
import { RetryRequest, isPermanent, type ResolvedTaskOptions } from '../task.ts'

/** The verdict on a failed attempt. */
export type Verdict =
  | { readonly kind: 'retry'; readonly dueAt: number; readonly error: unknown }
  | { readonly kind: 'dead'; readonly reason: 'RetriesSpent' | 'NotRetried'; readonly error: unknown }

/**
 * Decides.
 * @param thrown what the handler threw
 * @param retries how many attempts came before this one
 * @param now milliseconds since the epoch, the broker's clock
 * @param random a number from 0 up to, not including, 1
 */
export function judge(
  thrown: unknown,
  retries: number,
  options: Pick<
    ResolvedTaskOptions,
    'maxRetries' | 'retryBackoff' | 'retryBackoffSeconds' | 'retryBackoffMaxSeconds' | 'noRetryFor'
  >,
  now: number,
  random: number,
): Verdict {
  const request = thrown instanceof RetryRequest ? thrown.options : undefined
  const error = request ? (request.error ?? thrown) : thrown
  if (!request && isFinal(thrown, options.noRetryFor)) return { kind: 'dead', reason: 'NotRetried', error }
  if (retries >= (request?.maxRetries ?? options.maxRetries)) return { kind: 'dead', reason: 'RetriesSpent', error }
  const asked = request && startTime(request, now)
  const delay = backoffMs(
    retries + 1,
    {
      baseMs: options.retryBackoffSeconds * 1000,
      capMs: options.retryBackoffMaxSeconds * 1000,
      factor: options.retryBackoff === 'fixed' ? 1 : 2,
    },
    random,
  )
  return { kind: 'retry', dueAt: asked ?? now + delay, error }
}

function isFinal(thrown: unknown, classes: ResolvedTaskOptions['noRetryFor']): boolean {
  return isPermanent(thrown) || classes.some((one) => thrown instanceof one)
}
