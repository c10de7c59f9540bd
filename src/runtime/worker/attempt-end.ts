// When an attempt has ended: with its handler, or before that with an error of its code that nobody caught.

/** Handlers that have ended in this turn of the event loop: one timer for all of them, since there may be thousands a second. */
let ended: (() => void)[] = []

function tellEnded(): void {
  const all = ended
  ended = []
  for (const tell of all) tell()
}

export class AttemptEnd {
  #reject: ((error: unknown) => void) | undefined

  /** Waits for it. Rejects with what the handler threw, or with what fail() was given. */
  of(running: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#reject = reject
      const succeed = (value: unknown): void => {
        // A turn later: of a promise that was rejected before the handler ended, Node tells only now.
        const tell = (): void => {
          this.#reject = undefined
          resolve(value)
        }
        if (ended.push(tell) === 1) setImmediate(tellEnded)
      }
      const fail = (error: unknown): void => {
        this.#reject = undefined
        // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- as it was thrown: that is for retry.ts to judge
        reject(error)
      }
      if (running instanceof Promise) running.then(succeed, fail)
      else Promise.resolve(running).then(succeed, fail)
    })
  }

  /** Ends it with an error. @returns false when it has ended already */
  fail(error: Error): boolean {
    const reject = this.#reject
    this.#reject = undefined
    reject?.(error)
    return reject !== undefined
  }
}

/** Why the signal of such an attempt aborts. */
export function rejectionText(error: Error): string {
  return `a promise of this task was rejected and nobody looked: ${error.message}`
}
