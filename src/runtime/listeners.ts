// Who listens to an app's events, and their calls: one that fails is logged and harms nobody, one that is slow holds up nothing but the
// end of the process, and that not for long.
import { pause, systemClock, type Clock } from './clock.ts'
import { asError } from './errors.ts'
import type { Logger } from './log.ts'
import type { AppEvents, ErrorReport, ErrorTracker } from './reports.ts'

export type AppListener<Name extends keyof AppEvents> = (report: AppEvents[Name]) => unknown

/** How long listeners and error trackers may take when a process stops; with all else that a worker does then, it is done before the kubelet's SIGKILL. */
export const SETTLE_MS = 3000

const EVENTS: readonly (keyof AppEvents)[] = ['error', 'retry', 'dead', 'recovered', 'missed']

export class Listeners {
  readonly #listeners = new Map<keyof AppEvents, Set<AppListener<never>>>()
  readonly #trackers = new Set<ErrorTracker>()
  readonly #pending = new Set<Promise<unknown>>()

  /** True for the name of an event. */
  static knows(name: string): name is keyof AppEvents {
    return (EVENTS as readonly string[]).includes(name)
  }

  add<Name extends keyof AppEvents>(name: Name, listener: AppListener<Name>): void {
    const listeners = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, listeners.add(listener))
  }

  remove<Name extends keyof AppEvents>(name: Name, listener: AppListener<Name>): void {
    this.#listeners.get(name)?.delete(listener)
  }

  /** @returns what takes it away again */
  track(tracker: ErrorTracker): () => void {
    const listeners = EVENTS.map(
      (kind) => [kind, (report: object): unknown => tracker.capture({ kind, ...report } as ErrorReport)] as const,
    )
    for (const [kind, listener] of listeners) this.add(kind, listener)
    this.#trackers.add(tracker)
    return () => {
      for (const [kind, listener] of listeners) this.remove(kind, listener)
      this.#trackers.delete(tracker)
    }
  }

  /** Whether a report is worth making. */
  has(name: keyof AppEvents): boolean {
    return (this.#listeners.get(name)?.size ?? 0) > 0
  }

  /** Tells all of them. Never throws. */
  emit<Name extends keyof AppEvents>(name: Name, report: AppEvents[Name], log: Logger): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])] as AppListener<Name>[]) {
      const failed = (error: unknown): void =>
        log.error({ event: 'listener-failed', error: asError(error) }, `a listener of ${name} failed`)
      try {
        const coming = listener(report)
        if (isThenable(coming)) this.#keep(Promise.resolve(coming).catch(failed))
      } catch (error) {
        failed(error)
      }
    }
  }

  /** Before the process ends: waits for listeners that are under way, then has the trackers send what they have. Never rejects. */
  async settle(timeoutMs: number, log: Logger, clock: Clock = systemClock): Promise<void> {
    if (this.#pending.size === 0 && this.#trackers.size === 0) return
    const until = clock.monotonic() + timeoutMs
    const work = async (): Promise<true> => {
      await Promise.all(this.#pending)
      const left = Math.max(0, until - clock.monotonic())
      await Promise.all([...this.#trackers].map((tracker) => this.#flush(tracker, left, log)))
      return true
    }
    const waited = new AbortController()
    if ((await Promise.race([work(), pause(clock, timeoutMs, waited.signal)])) === undefined)
      log.error({ event: 'listener-failed' }, `listeners took more than ${timeoutMs} ms; their reports may be lost`)
    waited.abort()
  }

  async #flush(tracker: ErrorTracker, timeoutMs: number, log: Logger): Promise<void> {
    try {
      await tracker.flush?.(timeoutMs)
    } catch (error) {
      log.error({ event: 'listener-failed', error: asError(error) }, 'an error tracker could not send all it had')
    }
  }

  #keep(pending: Promise<unknown>): void {
    this.#pending.add(pending)
    void pending.finally(() => this.#pending.delete(pending))
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof Reflect.get(value, 'then') === 'function'
}
