// Time as a dependency, so that tests don't sleep. Not a timer wheel and not the broker's time (see broker/redis/broker-clock.ts).

/** A cancellable timer. */
export interface Timer {
  cancel(): void
}

/** Where time comes from. Instants are milliseconds since the Unix epoch. */
export interface Clock {
  /** Wall-clock time, in milliseconds since the epoch; may jump. */
  now(): number
  /** Milliseconds of a clock that never jumps; only differences mean something. */
  monotonic(): number
  /** Runs `callback` once after `milliseconds`. The timer doesn't keep the process alive when `background` is set. */
  after(milliseconds: number, callback: () => void, options?: { background?: boolean }): Timer
}

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(milliseconds, callback, options) {
    // setTimeout overflows above 2^31-1 ms and would fire at once.
    const handle = setTimeout(callback, Math.min(milliseconds, 0x7fff_ffff))
    if (options?.background) handle.unref()
    return { cancel: () => clearTimeout(handle) }
  },
}

/** Milliseconds of a clock that all threads of a process share: performance.now() begins anew in each. */
export function sharedNow(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000
}

/** Resolves after `milliseconds`, or at once when the signal aborts. Never rejects. */
export function pause(clock: Clock, milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve()
      return
    }
    const timer = clock.after(milliseconds, done)
    function done(): void {
      timer.cancel()
      signal?.removeEventListener('abort', done)
      resolve()
    }
    signal?.addEventListener('abort', done, { once: true })
  })
}
