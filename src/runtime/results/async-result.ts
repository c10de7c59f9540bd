// A handle on what a task will have returned. It reads the store; it doesn't keep anything.
import { ResultError, asError } from '../errors.ts'
import { decodeResult, FINAL_STATES, failureText, type StoredResult, type TaskState } from '../protocol/result.ts'
import type { Store } from '../broker/store.ts'

/** Where results are read. */
export type ResultSource = Pick<Store, 'readResult' | 'watchResult'>

/** Options of get(). */
export interface GetOptions {
  /** Seconds to wait; without it, as long as it takes. */
  readonly timeoutSeconds?: number
}

/** A publication may be lost with its connection; the poll finds the result then. */
const POLL_MS = 1000

export class AsyncResult<Result> {
  /** The task's id. */
  readonly id: string
  readonly #store: () => ResultSource | Promise<ResultSource>
  readonly #stored: boolean

  constructor(id: string, store: () => ResultSource | Promise<ResultSource>, stored: boolean) {
    this.id = id
    this.#store = store
    this.#stored = stored
  }

  /** The state now; PENDING also for a task that nobody knows. @throws BrokerError */
  async state(): Promise<TaskState> {
    return (await this.#read())?.status ?? 'PENDING'
  }

  /** State, result or progress now; undefined while nothing is stored. @throws BrokerError */
  async peek(): Promise<StoredResult | undefined> {
    return this.#read()
  }

  /**
   * Waits for the task's end and returns what it returned.
   * @throws ResultError `TaskFailed`, `TaskRevoked`, `ResultTimeout`, or `ResultNotStored` for a task whose result is ignored
   * @throws BrokerError
   */
  async get(options: GetOptions = {}): Promise<Result> {
    if (!this.#stored) {
      throw new ResultError(
        'ResultNotStored',
        `task ${this.id} was sent with ignoreResult, so there is nothing to wait for`,
      )
    }
    const final = await this.#final(options.timeoutSeconds)
    if (final.status === 'SUCCESS') return final.result as Result
    const text = failureText(final.result)
    if (final.status === 'REVOKED') throw new ResultError('TaskRevoked', `task ${this.id} was revoked: ${text}`)
    throw new ResultError('TaskFailed', `task ${this.id} failed: ${text}`, final.traceback)
  }

  async #final(timeoutSeconds: number | undefined): Promise<StoredResult> {
    const found = finalOf(await this.#read())
    if (found) return found
    return new Promise((resolve, reject) => {
      let stop: (() => Promise<void>) | undefined
      const finish = (settle: () => void): void => {
        clearTimeout(timer)
        clearInterval(poll)
        void stop?.()
        stop = undefined
        done = true
        settle()
      }
      let done = false
      const offer = (result: StoredResult | undefined): void => {
        const final = finalOf(result)
        if (final && !done) finish(() => resolve(final))
      }
      const fail = (error: unknown): void => {
        if (!done) finish(() => reject(asError(error)))
      }
      const timer =
        timeoutSeconds === undefined
          ? undefined
          : setTimeout(() => fail(this.#timeout(timeoutSeconds)), timeoutSeconds * 1000)
      const poll = setInterval(() => void this.#read().then(offer, () => undefined), POLL_MS)
      this.#watch((json) => offer(decodeResult(json)))
        .then(async (unwatch) => {
          if (done) return unwatch()
          stop = unwatch
          // It may have come between the first look and the subscription.
          offer(await this.#read())
        })
        .catch(fail)
    })
  }

  #timeout(seconds: number): ResultError {
    return new ResultError(
      'ResultTimeout',
      `task ${this.id} has not ended within ${seconds} s; it may still run, and get() may be called again`,
    )
  }

  async #watch(onResult: (json: string) => void): Promise<() => Promise<void>> {
    return (await this.#store()).watchResult(this.id, onResult)
  }

  async #read(): Promise<StoredResult | undefined> {
    const json = await (await this.#store()).readResult(this.id)
    return json === undefined ? undefined : decodeResult(json)
  }
}

function finalOf(result: StoredResult | undefined): StoredResult | undefined {
  return result && FINAL_STATES.has(result.status) ? result : undefined
}
