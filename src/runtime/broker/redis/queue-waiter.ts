// Wakes an idle consumer when something is pushed to a queue, by whoever: BLMOVE of a list onto itself blocks and removes
// nothing. It is a wake-up only; what is missed here is found by the consumer's next poll.
//
// Our own producers say what they push (publisher.ts), and for a push that is told of this wait costs a command, a reply with the whole message
// and an empty take. So while they are heard it begins a little later, by when a busy queue has the next message.
import type { Clock, Timer } from '../../clock.ts'
import { RedisConnection, type BrokerAddress } from './connection.ts'

/** Seconds of one blocking call. */
const BLOCK_SECONDS = 5
/** For so long after one that was told of, pushes are taken to be told of. Milliseconds. */
const HEARD_MS = 1000
/** How much later the wait begins then: as long, at most, a message of another producer waits. Milliseconds. */
const LATER_MS = 20
/** For so long after a push that nobody told of, the wait begins at once. Milliseconds. */
const UNTOLD_MS = 10_000
/** Within this time of a push it is told of, or never. Milliseconds. */
const TELLING_MS = 100

export class QueueWaiter {
  readonly #connection: RedisConnection
  readonly #list: string
  readonly #onWake: () => void
  readonly #clock: Clock
  #waiting = false
  #heardAt = -Infinity
  #untoldAt = -Infinity
  /** When the consumer was idle last. */
  #idleAt = 0
  #later: Timer | undefined
  #closed = false

  /** @param list the list of the queue's most urgent step */
  constructor(broker: BrokerAddress, list: string, clock: Clock, onWake: () => void) {
    this.#clock = clock
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
    this.#idleAt = this.#clock.monotonic()
    const told = this.#idleAt - this.#heardAt < HEARD_MS && this.#idleAt - this.#untoldAt > UNTOLD_MS
    if (told) this.#waitLater(LATER_MS)
    else this.#wait()
  }

  /** A producer has told of a push. */
  heard(): void {
    this.#heardAt = this.#clock.monotonic()
    if (this.#heardAt - this.#untoldAt < TELLING_MS) this.#untoldAt = -Infinity
  }

  /** One timer for all the times at which a busy consumer is idle. */
  #waitLater(milliseconds: number): void {
    this.#later ??= this.#clock.after(
      milliseconds,
      () => {
        this.#later = undefined
        const left = this.#idleAt + LATER_MS - this.#clock.monotonic()
        if (left > 0) this.#waitLater(left)
        else this.#wait()
      },
      { background: true },
    )
  }

  #wait(): void {
    if (this.#waiting || this.#closed || !this.#connection.ready) return
    this.#waiting = true
    this.#connection.redis
      .blmove(this.#list, this.#list, 'RIGHT', 'RIGHT', BLOCK_SECONDS)
      .then((moved) => {
        this.#waiting = false
        if (moved === null) return
        const now = this.#clock.monotonic()
        if (now - this.#heardAt > TELLING_MS) this.#untoldAt = now
        this.#onWake()
      })
      .catch(() => {
        // A broken connection comes back by itself, and a full or read-only server leaves the poll; neither is news here.
        this.#waiting = false
      })
  }

  close(): void {
    this.#closed = true
    this.#later?.cancel()
    this.#connection.close()
  }
}
