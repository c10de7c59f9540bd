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
  }

  /** Asks the worker in the background, one turn at a time. Call it again and again: what can't be asked now is asked then. */
  follow(wanted: boolean): void {
    if (this.#turning || (!wanted && this.#cancelled.length === 0)) return
    this.#turning = true
    const turn = wanted ? this.#drain() : this.#resume()
    turn
      .catch(() => undefined)
      .finally(() => {
        this.#turning = false
      })
  }

  async #drain(): Promise<void> {
    const queues = namesIn(await this.#pidbox.ask('active_queues'))
    if (queues === undefined) return
    if (queues.length > 0) {
      this.#report(`This pod is to go: the worker takes nothing from ${queues.join(', ')} any more.`)
      this.#cancelled = [...new Set([...this.#cancelled, ...queues])].toSorted()
      for (const queue of queues) await this.#pidbox.ask('cancel_consumer', { queue })
    }
    const left = namesIn(await this.#pidbox.ask('active_queues'))
    const [active, reserved] = [await this.#pidbox.ask('active'), await this.#pidbox.ask('reserved')]
    const known = left?.length === 0 && Array.isArray(active) && Array.isArray(reserved)
    this.#state = {
      draining: known,
      busy: known ? active.length + reserved.length : 1,
      queues: this.#cancelled,
    }
  }

  async #resume(): Promise<void> {
    this.#report(`This pod stays: the worker takes from ${this.#cancelled.join(', ')} again.`)
    for (const queue of this.#cancelled) await this.#pidbox.ask('add_consumer', { queue })
    const active = namesIn(await this.#pidbox.ask('active_queues')) ?? []
    if (!this.#cancelled.every((queue) => active.includes(queue))) return
    this.#cancelled = []
    this.#state = undefined
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
