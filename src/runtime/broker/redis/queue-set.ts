// The queues that a consumer takes from, which remote control may change while it runs, and the numbers by which deliveries in
// shared memory name theirs: a queue keeps its number when it is taken from no more.
import { UsageError } from '../../errors.ts'
import { MAX_QUEUES } from '../../settings.ts'

export class QueueSet {
  #active: readonly string[] = []
  readonly #numbers = new Map<string, number>()

  constructor(queues: readonly string[]) {
    for (const queue of queues) this.add(queue)
  }

  /** The queues that are taken from now. */
  get active(): readonly string[] {
    return this.#active
  }

  /** All that were ever taken from, in the order of their numbers. */
  get known(): readonly string[] {
    return [...this.#numbers.keys()]
  }

  numberOf(queue: string): number {
    return this.#numbers.get(queue) ?? 0
  }

  /** @returns false when it is taken from already @throws UsageError `SettingInvalid` when there are too many */
  add(queue: string): boolean {
    if (this.#active.includes(queue)) return false
    if (!this.#numbers.has(queue) && this.#numbers.size >= MAX_QUEUES)
      throw new UsageError('SettingInvalid', `one worker can consume at most ${MAX_QUEUES} queues: start several`)
    this.#numbers.set(queue, this.#numbers.get(queue) ?? this.#numbers.size)
    this.#active = [...this.#active, queue]
    return true
  }

  /** @returns false when it was not taken from */
  remove(queue: string): boolean {
    const before = this.#active.length
    this.#active = this.#active.filter((name) => name !== queue)
    return this.#active.length < before
  }
}
