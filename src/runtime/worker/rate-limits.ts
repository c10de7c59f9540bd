// How often a task may begin in this worker: Celery's rate limits, "10/s", "100/m", "5/h". A task that is too early is parked in the
// broker by its runner, never held here. Pure but for what it remembers.
import { parseRate } from '../protocol/rate.ts'

interface Limit {
  readonly text: string
  readonly gapMs: number
  /** When the next may begin. */
  next: number
  /** When the turn of the next that has to wait comes. */
  turn: number
}

export class RateLimits {
  readonly #limits = new Map<string, Limit>()

  /** The limit of a task as it was given; undefined when it has none. */
  of(task: string): string | undefined {
    return this.#limits.get(task)?.text
  }

  /** Gives a task a limit, or takes it away with 0 or an empty text. @throws UsageError `OptionInvalid` */
  set(task: string, text: string): void {
    const gapMs = text === '' ? 0 : parseRate(text)
    if (gapMs === 0) this.#limits.delete(task)
    else this.#limits.set(task, { text, gapMs, next: 0, turn: 0 })
  }

  /**
   * Asks for a task to begin.
   * @param now milliseconds of a clock that never jumps
   * @returns 0 when it may, which is counted; else the milliseconds until its turn
   */
  wait(task: string, now: number): number {
    const limit = this.#limits.get(task)
    if (!limit) return 0
    if (now >= limit.next) {
      limit.next = now + limit.gapMs
      return 0
    }
    // Behind those who wait already, so that they do not all come back at once.
    const turn = Math.max(limit.next, limit.turn)
    limit.turn = turn + limit.gapMs
    return turn - now
  }
}
