// The deliveries in this process's hands: which tag, from which queue, in which slot of the memory that the lease thread reads.
import { PRIORITY_STEPS, priorityStep } from '../../protocol/queue-key.ts'
import type { DeliveryToken } from '../transport.ts'
import type { LeaseSlots } from './lease-slots.ts'
import { NumberTable } from './number-table.ts'
import type { QueueSet } from './queue-set.ts'
import { formatTag, numberOfTag } from './tag.ts'

export class HeldDeliveries {
  readonly #process: string
  readonly #queues: QueueSet
  readonly #slots: LeaseSlots
  /** By the number of the tag: the slot, which is -1 for none, and the priority step. */
  readonly #held = new NumberTable()

  /** @param process the process part of tags */
  constructor(process: string, queues: QueueSet, slots: LeaseSlots) {
    this.#process = process
    this.#queues = queues
    this.#slots = slots
  }

  get size(): number {
    return this.#held.size
  }

  /** The tags that are held. */
  *tags(): Generator<string> {
    for (const [number, value] of this.#held.entries()) {
      yield formatTag(this.#process, number, PRIORITY_STEPS[value % PRIORITY_STEPS.length] ?? 0)
    }
  }

  /** Holds a delivery, whose lease is renewed from now on. */
  add(queue: string, number: number, stepText: string): DeliveryToken {
    const step = priorityStep(Number(stepText))
    const slot = this.#slots.add({ number, queue: this.#queues.numberOf(queue), step })
    this.#held.set(number, (slot + 1) * PRIORITY_STEPS.length + PRIORITY_STEPS.indexOf(step))
    return formatTag(this.#process, number, stepText) as DeliveryToken
  }

  /** Has its lease renewed until then only; see LeaseSlots.limit(). */
  limit(token: DeliveryToken, until: number): void {
    const slot = this.#slotOf(numberOfTag(token))
    if (slot !== undefined) this.#slots.limit(slot, until)
  }

  /** Lets go of one. */
  remove(token: DeliveryToken): void {
    const number = numberOfTag(token)
    const slot = this.#slotOf(number)
    if (slot === undefined) return
    this.#held.delete(number)
    this.#slots.remove(slot)
  }

  #slotOf(number: number): number | undefined {
    const value = this.#held.get(number)
    return value === undefined ? undefined : Math.floor(value / PRIORITY_STEPS.length) - 1
  }
}
