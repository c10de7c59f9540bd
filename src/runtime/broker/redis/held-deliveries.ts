// The deliveries in this process's hands: which tag, from which queue, in which slot of the memory that the lease thread reads.
import { priorityStep } from '../../protocol/queue-key.ts'
import type { DeliveryToken } from '../transport.ts'
import type { LeaseSlots } from './lease-slots.ts'
import type { QueueSet } from './queue-set.ts'
import { formatTag } from './tag.ts'

export class HeldDeliveries {
  readonly #process: string
  readonly #queues: QueueSet
  readonly #slots: LeaseSlots
  readonly #slotOf = new Map<string, number>()

  /** @param process the process part of tags */
  constructor(process: string, queues: QueueSet, slots: LeaseSlots) {
    this.#process = process
    this.#queues = queues
    this.#slots = slots
  }

  get size(): number {
    return this.#slotOf.size
  }

  /** The tags that are held. */
  tags(): Iterable<string> {
    return this.#slotOf.keys()
  }

  /** Holds a delivery, whose lease is renewed from now on. */
  add(queue: string, number: number, step: string): DeliveryToken {
    const token = formatTag(this.#process, number, step) as DeliveryToken
    const numberOfQueue = this.#queues.numberOf(queue)
    this.#slotOf.set(token, this.#slots.add({ number, queue: numberOfQueue, step: priorityStep(Number(step)) }))
    return token
  }

  /** Has its lease renewed until then only; see LeaseSlots.limit(). */
  limit(token: string, until: number): void {
    const slot = this.#slotOf.get(token)
    if (slot !== undefined) this.#slots.limit(slot, until)
  }

  /** Lets go of one. */
  remove(token: string): void {
    const slot = this.#slotOf.get(token)
    if (slot === undefined) return
    this.#slotOf.delete(token)
    this.#slots.remove(slot)
  }
}
