// The executions in a worker's hands, and nothing else of them. An array and no Map, for the garbage collector's sake: when a Map is rehashed,
// which one that is filled and emptied all the time is every few entries, V8 lets the old table point to the new one. Once one old table has
// come into the old generation it keeps each later one alive until the next full collection, and with them every execution that was in one:
// half of what tasks allocate outlived the young generation's collections (docs/decisions/031).
import type { DeliveryToken } from '../broker/transport.ts'
import type { Execution } from './execution.ts'

export class RunningTasks implements Iterable<Execution> {
  readonly #executions: Execution[] = []

  get size(): number {
    return this.#executions.length
  }

  add(execution: Execution): void {
    execution.place = this.#executions.push(execution) - 1
  }

  /** Takes one out; the last one takes its place. */
  remove(execution: Execution): void {
    const last = this.#executions.pop()
    if (last === undefined || last === execution) return
    last.place = execution.place
    this.#executions[execution.place] = last
  }

  /** Looks through all: for what happens seldom. */
  find(token: DeliveryToken): Execution | undefined {
    return this.#executions.find(({ delivery }) => delivery.token === token)
  }

  /** In the order in which they began, as they are now. */
  [Symbol.iterator](): Iterator<Execution> {
    return this.#executions.toSorted((a, b) => a.startedAt - b.startedAt)[Symbol.iterator]()
  }
}
