// A rate-limited queue of keys, after client-go's: a key is worked on by one worker at a time, waits once however often it is
// added, and comes back later and later while it fails. Not a queue of jobs: it is only about which TaskQueue to look at next.

import type { Clock } from '../clock.ts'

export interface WorkqueueOptions {
  /** How many keys are worked on at once. */
  concurrency: number
  /** First delay after a failure in milliseconds; it doubles up to `maxDelayMs`. */
  baseDelayMs?: number
  maxDelayMs?: number
}

/** What the handler wants next: nothing, or to be called again after so many milliseconds even if nothing changes. */
export type Outcome = { requeueAfterMs?: number }

export class Workqueue {
  readonly #handler: (key: string) => Promise<Outcome>
  readonly #onError: (key: string, error: unknown, retryInMs: number) => void
  readonly #clock: Clock
  readonly #concurrency: number
  readonly #baseDelayMs: number
  readonly #maxDelayMs: number
  /** Keys that wait, in order of arrival. */
  readonly #waiting = new Set<string>()
  readonly #active = new Set<string>()
  /** Keys added while they were worked on: they wait again afterwards. */
  readonly #dirty = new Set<string>()
  readonly #failures = new Map<string, number>()
  /** The earliest planned time of each key that is to come back, on the monotonic clock. */
  readonly #planned = new Map<string, { at: number; cancel: AbortController }>()
  readonly #idle: (() => void)[] = []
  #stopped = false

  constructor(
    options: WorkqueueOptions,
    handler: (key: string) => Promise<Outcome>,
    onError: (key: string, error: unknown, retryInMs: number) => void,
    clock: Clock,
  ) {
    this.#handler = handler
    this.#onError = onError
    this.#clock = clock
    this.#concurrency = options.concurrency
    this.#baseDelayMs = options.baseDelayMs ?? 50
    this.#maxDelayMs = options.maxDelayMs ?? 300_000
  }

  /** Keys that wait for a worker. */
  get depth(): number {
    return this.#waiting.size
  }

  add(key: string): void {
    if (this.#stopped) return
    if (this.#active.has(key)) {
      this.#dirty.add(key)
      return
    }
    this.#waiting.add(key)
    this.#pump()
  }

  /** Adds the key after a time; of several plans for one key the earliest holds. */
  addAfter(key: string, ms: number): void {
    if (this.#stopped) return
    const at = this.#clock.monotonic() + ms
    const earlier = this.#planned.get(key)
    if (earlier && earlier.at <= at) return
    earlier?.cancel.abort()
    const cancel = new AbortController()
    this.#planned.set(key, { at, cancel })
    void this.#clock.sleep(ms, cancel.signal).then(() => {
      if (cancel.signal.aborted) return
      this.#planned.delete(key)
      this.add(key)
    })
  }

  /** Forgets a key that no longer exists. */
  forget(key: string): void {
    this.#failures.delete(key)
    this.#planned.get(key)?.cancel.abort()
    this.#planned.delete(key)
  }

  /** Takes no more keys and resolves when those under way are done. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#waiting.clear()
    for (const { cancel } of this.#planned.values()) cancel.abort()
    this.#planned.clear()
    if (this.#active.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  #pump(): void {
    for (const key of this.#waiting) {
      if (this.#active.size >= this.#concurrency) return
      this.#waiting.delete(key)
      this.#active.add(key)
      void this.#work(key)
    }
  }

  async #work(key: string): Promise<void> {
    try {
      const outcome = await this.#handler(key)
      this.#failures.delete(key)
      if (outcome.requeueAfterMs !== undefined) this.addAfter(key, outcome.requeueAfterMs)
    } catch (error) {
      const failures = (this.#failures.get(key) ?? 0) + 1
      this.#failures.set(key, failures)
      const delay = Math.min(this.#maxDelayMs, this.#baseDelayMs * 2 ** Math.min(failures - 1, 30))
      // What changed meanwhile is looked at with the next attempt: it must not get around the back-off.
      this.#dirty.delete(key)
      this.#onError(key, error, delay)
      this.addAfter(key, delay)
    }
    this.#active.delete(key)
    if (this.#dirty.delete(key) && !this.#stopped) this.#waiting.add(key)
    if (this.#stopped && this.#active.size === 0) for (const resolve of this.#idle.splice(0)) resolve()
    this.#pump()
  }
}
