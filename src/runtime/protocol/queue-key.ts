// How kombu spreads a queue over one Redis list per priority step. Not the place where lists are read.

/** kombu's separator inside Redis keys and binding members. */
export const SEPARATOR = '\u0006\u0016'

/** kombu's priority steps, the most urgent first. */
export const PRIORITY_STEPS = [0, 3, 6, 9] as const

/** One of kombu's priority steps. */
export type PriorityStep = (typeof PRIORITY_STEPS)[number]

/**
 * The step that a priority belongs to: the greatest step that isn't above it. On Redis 0 is the most urgent priority;
 * values outside 0 to 9 are clamped, as kombu does.
 */
export function priorityStep(priority: number): PriorityStep {
  if (priority >= 9) return 9
  if (priority >= 6) return 6
  if (priority >= 3) return 3
  return 0
}

/** The key of one list of a queue, without the global key prefix. */
export function queueKey(queue: string, step: PriorityStep): string {
  return step === 0 ? queue : `${queue}${SEPARATOR}${step}`
}

/** The keys of all lists of a queue, the most urgent first. */
export function queueKeys(queue: string): string[] {
  return PRIORITY_STEPS.map((step) => queueKey(queue, step))
}
