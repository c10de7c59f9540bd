// Wakes an idle consumer when something is pushed to a queue, by whoever: BLMOVE of a list onto itself blocks and removes
// nothing. It is a wake-up only; what is missed here is found by the consumer's next poll.
import { RedisConnection, type ConnectionTimeouts } from './connection.ts'

/** Seconds of one blocking call. */
const BLOCK_SECONDS = 5

export class QueueWaiter {
  readonly #connection: RedisConnection
  readonly #list: string
  readonly #onWake: () => void
  #waiting = false
  #closed = false

  /** @param list the list of the queue's most urgent step */
  constructor(
    broker: { readonly url: string; readonly keyPrefix: string; readonly timeouts?: ConnectionTimeouts },
    list: string,
    onWake: () => void,
  ) {
    this.#connection = new RedisConnection({
      ...broker,
      name: 'taskqueue:wait',
      blockingMs: BLOCK_SECONDS * 1000,
    })
    this.#list = list
    this.#onWake = onWake
  }

  /** Waits for the next push, unless it does already. Call it whenever the consumer goes idle. */
  arm(): void {
    if (this.#waiting || this.#closed) return
    this.#connection.open()
    if (!this.#connection.ready) return
    this.#waiting = true
    this.#connection.redis
      .blmove(this.#list, this.#list, 'RIGHT', 'RIGHT', BLOCK_SECONDS)
      .then((moved) => {
        this.#waiting = false
        if (moved !== null) this.#onWake()
      })
      .catch(() => {
        // A broken connection comes back by itself, and a full or read-only server leaves the poll; neither is news here.
        this.#waiting = false
      })
  }

  close(): void {
    this.#closed = true
    this.#connection.close()
  }
}
