// The ping that `celery inspect ping -d celery@<host>` sends, so that a probe costs a few Redis commands instead of a Python
// process. A broker that can't be reached proves nothing about the worker.

import type { Pidbox } from './pidbox.ts'

export type PingAnswer =
  | { state: 'pong' }
  /** The broker took the question and the worker did not answer in time. */
  | { state: 'silent' }
  /** The question could not be asked. */
  | { state: 'unknown'; why: string }

/** Liveness and readiness ask in turns; one answer serves both. */
const REUSE_MS = 2_000

export class CeleryPing {
  readonly #pidbox: Pidbox
  #last: { answer: PingAnswer; at: number } | undefined
  #running: Promise<PingAnswer> | undefined

  constructor(pidbox: Pidbox) {
    this.#pidbox = pidbox
  }

  /** Asks the worker, or joins a question that is under way. */
  async ask(): Promise<PingAnswer> {
    if (this.#last && performance.now() - this.#last.at < REUSE_MS) return this.#last.answer
    this.#running ??= this.#askNow().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #askNow(): Promise<PingAnswer> {
    let answer: PingAnswer
    try {
      answer = { state: (await this.#pidbox.ask('ping')) === undefined ? 'silent' : 'pong' }
    } catch (error) {
      answer = { state: 'unknown', why: error instanceof Error ? error.message : String(error) }
    }
    this.#last = { answer, at: performance.now() }
    return answer
  }
}
