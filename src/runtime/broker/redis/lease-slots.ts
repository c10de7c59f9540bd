// The deliveries whose leases shall be renewed, in memory that the main thread and the lease thread share: a blocked event
// loop can't starve renewal. One 64-bit number a slot; a torn read would name a tag that doesn't exist, which renews nothing.
import { PRIORITY_STEPS, type PriorityStep } from '../../protocol/queue-key.ts'
import { formatTag } from './tag.ts'

/** Queues that a slot's number has room for. */
const MAX_QUEUES = 256

const STEPS = PRIORITY_STEPS.length

/** What a slot holds. `queue` is the index of the consumer's queue. */
export interface LeasedTag {
  readonly number: number
  readonly queue: number
  readonly step: PriorityStep
}

/** Bytes of shared memory for so many slots. */
export const slotBytes = (slots: number): number => slots * Float64Array.BYTES_PER_ELEMENT

/** The main thread's side: puts deliveries in and takes them out. */
export class LeaseSlots {
  readonly memory: SharedArrayBuffer
  readonly #numbers: Float64Array
  readonly #free: number[] = []

  constructor(slots: number) {
    this.memory = new SharedArrayBuffer(slotBytes(slots))
    this.#numbers = new Float64Array(this.memory)
    for (let i = slots - 1; i >= 0; i--) this.#free.push(i)
  }

  /** Puts a delivery in; -1 when all slots are taken, and then its lease isn't renewed. */
  add(tag: LeasedTag): number {
    const slot = this.#free.pop()
    if (slot === undefined) return -1
    this.#numbers[slot] = (tag.number * MAX_QUEUES + tag.queue) * STEPS + PRIORITY_STEPS.indexOf(tag.step) + 1
    return slot
  }

  remove(slot: number): void {
    if (slot < 0) return
    this.#numbers[slot] = 0
    this.#free.push(slot)
  }
}

/** The lease thread's side: the tags to renew, each with the index of its queue. */
export function readSlots(memory: SharedArrayBuffer, process: string): { queue: number; tag: string }[] {
  const tags: { queue: number; tag: string }[] = []
  for (const value of new Float64Array(memory)) {
    if (value === 0) continue
    const code = value - 1
    const step = PRIORITY_STEPS[code % STEPS] ?? 0
    const rest = Math.floor(code / STEPS)
    tags.push({ queue: rest % MAX_QUEUES, tag: formatTag(process, Math.floor(rest / MAX_QUEUES), step) })
  }
  return tags
}
