// The order in which a take asks its queues, another one first at each turn, so that none is always served first; with the keys and names that
// take.lua is given for each order, made once and not for each take.
import type { Keys } from './keys.ts'
import { queueKeys, quoted, type ServedQueues } from './queue-calls.ts'
import type { QueueSet } from './queue-set.ts'

export class ServingOrder {
  readonly #keys: Keys
  readonly #queues: QueueSet
  #turns: (ServedQueues | undefined)[] = []
  /** What the turns were made for: they are made anew when the queues change. */
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
      this.#turns = []
    }
    const turn = this.#turn++ % Math.max(1, active.length)
    return (this.#turns[turn] ??= this.#served([...active.slice(turn), ...active.slice(0, turn)]))
  }

  #served(queues: readonly string[]): ServedQueues {
    const keys = queueKeys(this.#keys, queues, (queue) => this.#keys.leases(queue))
    return { queues, keys, names: quoted(queues) }
  }
}
