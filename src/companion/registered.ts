// Which tasks the Celery worker of this pod knows, so that the operator can tell a schedule that sends what nobody has. Asked now and
// then; while the worker has not answered nothing is claimed.

import { MOST_TASKS_TOLD } from '@taskqueue/runtime/broker'
import type { Pidbox } from './pidbox.ts'

const AGAIN_MS = 300_000
/** A worker that starts answers within a minute, as a rule. */
const RETRY_MS = 10_000

export class RegisteredTasks {
  readonly #pidbox: Pidbox
  #names: readonly string[] | undefined
  #askAt = -Infinity

  constructor(pidbox: Pidbox) {
    this.#pidbox = pidbox
  }

  /** The names, sorted; undefined while they are not known, or are too many to be told. */
  get names(): readonly string[] | undefined {
    return this.#names !== undefined && this.#names.length <= MOST_TASKS_TOLD ? this.#names : undefined
  }

  /** Asks in the background when it is time to. */
  refresh(): void {
    if (performance.now() < this.#askAt) return
    this.#askAt = performance.now() + RETRY_MS
    this.#pidbox.ask('registered').then(
      (answer) => {
        if (!Array.isArray(answer)) return
        // A task with a rate limit is told as `name [rate_limit=10/s]`.
        this.#names = answer.map((text) => String(text).split(' ')[0] ?? '').toSorted()
        this.#askAt = performance.now() + AGAIN_MS
      },
      () => undefined,
    )
  }
}
