// Time as the operator sees it, injected so that tests need not sleep. Not the clocks of pods: those are measured by companions.

import { setTimeout as delay } from 'node:timers/promises'

export interface Clock {
  /** Wall-clock time, for timestamps that people read. */
  now(): Date
  /** Milliseconds of a clock that is never set, for durations. */
  monotonic(): number
  /** Resolves after `ms`, or at once when the signal aborts. Never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

/** The clock of this machine. */
export const systemClock: Clock = {
  now: () => new Date(),
  monotonic: () => performance.now(),
  sleep: async (ms, signal) => {
    try {
      await delay(ms, undefined, signal ? { signal } : {})
    } catch (error) {
      if (!signal?.aborted) throw error
    }
  },
}
