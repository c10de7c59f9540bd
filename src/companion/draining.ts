// Has the Celery worker of this pod take nothing any more while the operator wants the pod to go, and tells what it still has in hand. A
// Node worker does that itself. What runs goes on; nothing here ends a task.

import type { Pidbox } from './pidbox.ts'

/** What is told of it in the presence hash. */
export interface DrainState {
  /** The worker takes nothing any more. */
  readonly draining: boolean
  /** Tasks that it runs or has reserved. */
  readonly busy: number
  /** The queues that it takes from again when it stays after all. */
  readonly queues: readonly string[]
}

export class CeleryDrain {
  readonly #pidbox: Pidbox
  readonly #report: (message: string) => void
  #cancelled: readonly string[] = []
  #state: DrainState | undefined
  #turning = false

  constructor(pidbox: Pidbox, report: (message: string) => void) {
    this.#pidbox = pidbox
    this.#report = report
  }

  /** Undefined while the worker takes as ever. */
  get state(): DrainState | undefined {
    return this.#state
  }

  /** After a restart: what the companion before this one had the worker give up. */
  restore(queues: readonly string[]): void {
    this.#cancelled = queues
    if (queues.length > 0) this.#unknown()
  }

  /** Whether this pod was to go at some time: its queues must be remembered then, by the next companion too. */
  get remembers(): boolean {
    return this.#cancelled.length > 0
  }

  /**
   * Asks the worker in the background, one turn at a time. Call it again and again, after what `state` says has been told: what can't be
   * asked now is asked then.
   */
  follow(wanted: boolean): void {
    if (this.#turning) return
    if (!wanted && !this.remembers) {
      this.#state = undefined
      return
    }
    this.#turning = true
    const turn = wanted ? this.#drain() : this.#resume()
    turn
      .catch(() => this.#unknown())
      .finally(() => {
        this.#turning = false
      })
  }

  async #drain(): Promise<void> {
    const queues = namesIn(await this.#pidbox.ask('active_queues'))
    if (queues === undefined) {
      this.#unknown()
      return
    }
    const news = queues.filter((queue) => !this.#cancelled.includes(queue))
    if (news.length > 0) {
      // Told before it is done: should this companion die, the next one knows what to give back.
      this.#cancelled = [...this.#cancelled, ...news].toSorted()
      this.#unknown()
      return
    }
    if (queues.length > 0)
      this.#report(`This pod is to go: the worker takes nothing from ${queues.join(', ')} any more.`)
    for (const queue of queues) await this.#pidbox.ask('cancel_consumer', { queue })
    const left = namesIn(await this.#pidbox.ask('active_queues'))
    // In this order: a task that begins in between is in the first answer.
    const [reserved, active] = [await this.#pidbox.ask('reserved'), await this.#pidbox.ask('active')]
    if (left?.length !== 0 || !Array.isArray(active) || !Array.isArray(reserved)) {
      this.#unknown()
      return
    }
    this.#state = { draining: true, busy: active.length + reserved.length, queues: this.#cancelled }
  }

  /** Also when that is long ago: a Celery worker that connects anew forgets consumers that were cancelled once and added again. */
  async #resume(): Promise<void> {
    this.#unknown()
    const active = namesIn(await this.#pidbox.ask('active_queues'))
    const missing = active && this.#cancelled.filter((queue) => !active.includes(queue))
    if (!missing || missing.length === 0) return
    this.#report(`This pod stays: the worker takes from ${missing.join(', ')} again.`)
    for (const queue of missing) await this.#pidbox.ask('add_consumer', { queue })
  }

  /** Nothing is claimed but what must be remembered. */
  #unknown(): void {
    this.#state = { draining: false, busy: 0, queues: this.#cancelled }
  }
}

/** The queues in an answer to `active_queues`; undefined when it is none. */
function namesIn(answer: unknown): string[] | undefined {
  if (!Array.isArray(answer)) return undefined
  return answer.flatMap((queue: unknown) => {
    const name = typeof queue === 'object' && queue !== null && 'name' in queue ? queue.name : undefined
    return typeof name === 'string' ? [name] : []
  })
}
