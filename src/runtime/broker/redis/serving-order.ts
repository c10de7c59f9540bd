// The order in which a take asks its queues, another one first at each turn, so that none is always served first; with the keys and the name
// that take.lua is given for each queue, made once and not for each take.
import type { Keys } from './keys.ts'
import { leadingKeys, keysOfQueue, quoted, type ServedQueues } from './queue-calls.ts'
import type { QueueSet } from './queue-set.ts'

/** What a queue is to take.lua. */
interface Served {
  readonly queue: string
  readonly keys: readonly string[]
  readonly name: string
}

export class ServingOrder {
  readonly #keys: Keys
  readonly #queues: QueueSet
  #served: readonly Served[] = []
  /** What they were made for: they are made anew when the queues change. */
  #active: readonly string[] = []
  #turn = 0

  constructor(keys: Keys, queues: QueueSet) {
    this.#keys = keys
    this.#queues = queues
  }

  next(): ServedQueues {
    const { active } = this.#queues
    if (active !== this.#active) {
      this.#active = active
      this.#served = active.map((queue) => this.#serve(queue))
    }
    const turn = this.#turn++ % Math.max(1, active.length)
    const served = turn === 0 ? this.#served : [...this.#served.slice(turn), ...this.#served.slice(0, turn)]
    const [queues, keys, names]: [string[], string[], string[]] = [[], leadingKeys(this.#keys), []]
    for (const one of served) {
      queues.push(one.queue)
      keys.push(...one.keys)
      names.push(one.name)
    }
    return { queues, keys, names }
  }

  #serve(queue: string): Served {
    return { queue, keys: keysOfQueue(this.#keys, queue, this.#keys.leases(queue)), name: quoted(queue) }
  }
}
