// When an attempt has ended: with its handler, or before that with an error of its code that nobody caught.

type Settle = () => void

/** Handlers that have ended in this turn of the event loop: one timer for all of them, since there may be thousands a second. */
let ended: Settle[] = []

function nextTurn(settle: Settle): void {
  if (ended.push(settle) > 1) return
  setImmediate(() => {
    const all = ended
    ended = []
    for (const one of all) one()
  })
}

export class AttemptEnd {
  #reject: ((error: unknown) => void) | undefined

  /** Waits for it. Rejects with what the handler threw, or with what fail() was given. */
  of(running: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#reject = reject
      Promise.resolve(running).then(
        // A turn later: of a promise that was rejected before the handler ended, Node tells only now.
        (value) =>
          nextTurn(() => {
            this.#reject = undefined
            resolve(value)
          }),
        (error: unknown) => {
          this.#reject = undefined
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- as it was thrown: that is for retry.ts to judge
          reject(error)
        },
      )
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
