// How an idle consumer hears of what is pushed to its queues: by its list, for a few queues, and by what our producers say. Both are a courtesy:
// what is missed is found by the consumer's next poll.
import type { Clock, Timer } from '../../clock.ts'
import type { BrokerAddress } from './connection.ts'
import type { Keys } from './keys.ts'
import { QueueWaiter } from './queue-waiter.ts'
import type { RedisSubscriber } from './subscriber.ts'

/** Connections that wait for a push, one a queue; further queues are found by the poll, up to 250 ms later. */
const MAX_WAITERS = 16
/** Until listening is tried again. Milliseconds. */
const RETRY_MS = 5000

/** What the wake-ups are built on. */
export interface WakeUpsDeps {
  readonly broker: BrokerAddress
  readonly keys: Keys
  readonly subscriber: RedisSubscriber
  readonly clock: Clock
  readonly onWake: () => void
  /** The producers can't be heard. */
  readonly onTrouble: (error: unknown) => void
}

interface Heard {
  waiter?: QueueWaiter
  stop?: () => Promise<void>
  retry?: Timer
}

export class WakeUps {
  readonly #deps: WakeUpsDeps
  readonly #queues = new Map<string, Heard>()

  constructor(deps: WakeUpsDeps) {
    this.#deps = deps
  }

  listenTo(queue: string): void {
    const { broker, keys, clock, onWake } = this.#deps
    const heard: Heard = {}
    const waiters = [...this.#queues.values()].filter(({ waiter }) => waiter !== undefined).length
    if (waiters < MAX_WAITERS) heard.waiter = new QueueWaiter(broker, keys.list(queue, 0), clock, onWake)
    this.#queues.set(queue, heard)
    void this.#subscribe(queue, heard)
  }

  stopListeningTo(queue: string): void {
    const heard = this.#queues.get(queue)
    this.#queues.delete(queue)
    heard?.waiter?.close()
    heard?.retry?.cancel()
    void heard?.stop?.()
  }

  /** The consumer is idle: from now on it wants to hear of the next push. */
  arm(): void {
    for (const { waiter } of this.#queues.values()) waiter?.arm()
  }

  /** The subscriber is not closed: others use it too. */
  close(): void {
    for (const queue of [...this.#queues.keys()]) this.stopListeningTo(queue)
  }

  async #subscribe(queue: string, heard: Heard): Promise<void> {
    const { subscriber, keys, clock, onWake, onTrouble } = this.#deps
    const listened = (): boolean => this.#queues.get(queue) === heard
    try {
      heard.stop = await subscriber.subscribe(keys.wake(queue), () => {
        heard.waiter?.heard()
        onWake()
      })
      // It was removed meanwhile.
      if (!listened()) await heard.stop()
    } catch (error) {
      if (!listened()) return
      onTrouble(error)
      heard.retry = clock.after(RETRY_MS, () => void this.#subscribe(queue, heard), { background: true })
    }
  }
}
