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

/** Numbers a slot: what is held, and until when it may be renewed. */
const FIELDS = 2

/** Bytes of shared memory for so many slots. */
export const slotBytes = (slots: number): number => slots * FIELDS * Float64Array.BYTES_PER_ELEMENT

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
    this.#numbers[slot * FIELDS + 1] = Infinity
    this.#numbers[slot * FIELDS] = (tag.number * MAX_QUEUES + tag.queue) * STEPS + PRIORITY_STEPS.indexOf(tag.step) + 1
    return slot
  }

  /** Lets a delivery be renewed until `until` only, in milliseconds of the clock that all threads share (lease-renewal.ts). */
  limit(slot: number, until: number): void {
    if (slot >= 0) this.#numbers[slot * FIELDS + 1] = until
  }

  remove(slot: number): void {
    if (slot < 0) return
    this.#numbers[slot * FIELDS] = 0
    this.#free.push(slot)
  }
}

/** A delivery as the lease thread sees it. */
export interface HeldSlot {
  readonly queue: number
  readonly tag: string
  /** No longer to be renewed from then on. */
  readonly until: number
}

/** The lease thread's side: the tags that are held, each with the index of its queue. */
export function readSlots(memory: SharedArrayBuffer, process: string): HeldSlot[] {
  const tags: HeldSlot[] = []
  const numbers = new Float64Array(memory)
  for (let at = 0; at < numbers.length; at += FIELDS) {
    const value = numbers[at] ?? 0
    if (value === 0) continue
    const until = numbers[at + 1] ?? Infinity
    const code = value - 1
    const step = PRIORITY_STEPS[code % STEPS] ?? 0
    const rest = Math.floor(code / STEPS)
    tags.push({ queue: rest % MAX_QUEUES, tag: formatTag(process, Math.floor(rest / MAX_QUEUES), step), until })
  }
  return tags
}
