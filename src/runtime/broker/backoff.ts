// Delays that grow, with a cap and jitter, for whoever tries again: connections here, retries of tasks in worker/retry.ts.

/** How delays grow. Milliseconds. */
export interface BackoffOptions {
  readonly baseMs: number
  readonly capMs: number
  /** 2 doubles with each attempt; 1 keeps it. */
  readonly factor?: number
}

/**
 * The delay before attempt `attempt` (1 is the first repetition): between half and all of base * factor^(attempt-1),
 * at most the cap. Half is kept so that a herd spreads and nobody comes back at once.
 * @param random a number from 0 up to, not including, 1
 */
export function backoffMs(attempt: number, options: BackoffOptions, random: number): number {
  const grown = options.baseMs * (options.factor ?? 2) ** Math.max(0, attempt - 1)
  const full = Math.min(options.capMs, Number.isFinite(grown) ? grown : options.capMs)
  return Math.round(full / 2 + (random * full) / 2)
}
