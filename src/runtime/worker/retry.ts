// What follows from an attempt that failed: another one, and when, or the dead letters. Pure.
import { backoffMs } from '../broker/backoff.ts'
import { startTime } from '../protocol/instant.ts'
import { RejectRequest, RetryRequest, isPermanent, type ResolvedTaskOptions } from '../task.ts'

/** The verdict on a failed attempt. */
export type Verdict =
  | { readonly kind: 'retry'; readonly dueAt: number; readonly error: unknown }
  | { readonly kind: 'dead'; readonly reason: 'RetriesSpent' | 'NotRetried' | 'Rejected'; readonly error: unknown }

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
  if (thrown instanceof RejectRequest) return { kind: 'dead', reason: 'Rejected', error }
  if (!request && isFinal(thrown, options.noRetryFor)) return { kind: 'dead', reason: 'NotRetried', error }
  if (retries >= (request?.maxRetries ?? options.maxRetries)) return { kind: 'dead', reason: 'RetriesSpent', error }
  const asked = request && startTime(request, now)
  return { kind: 'retry', dueAt: asked ?? now + delayMs(retries, options, error, random), error }
}

function delayMs(
  retries: number,
  options: Pick<ResolvedTaskOptions, 'retryBackoff' | 'retryBackoffSeconds' | 'retryBackoffMaxSeconds'>,
  error: unknown,
  random: number,
): number {
  const { retryBackoff } = options
  const capMs = options.retryBackoffMaxSeconds * 1000
  if (typeof retryBackoff !== 'function') {
    const factor = retryBackoff === 'fixed' ? 1 : 2
    return backoffMs(retries + 1, { baseMs: options.retryBackoffSeconds * 1000, capMs, factor }, random)
  }
  const seconds: unknown = retryBackoff(retries + 2, error)
  // What is no number of seconds is taken for the longest delay: never for none, which would be a hot loop.
  const usable = typeof seconds === 'number' && seconds >= 0
  return usable ? Math.min(seconds * 1000, capMs) : capMs
}

/** Whether no retry can cure it. */
export function isFinal(thrown: unknown, classes: ResolvedTaskOptions['noRetryFor']): boolean {
  return isPermanent(thrown) || classes.some((one) => thrown instanceof one)
}
