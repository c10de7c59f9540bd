// What the main thread notes of its event loop in memory that the watchdog's thread reads, also while the loop is held: that it turns, and
// which tasks run on it since when. No judgement: that is loop-judge.ts's.
import { sharedNow } from '../clock.ts'

/** A task that runs on the main thread. */
export interface RunningTask {
  readonly task: string
  readonly id: string
  /** How long it has run, in milliseconds in which the process was not stopped. */
  readonly ranMs: number
  /** The longest that it may run; Infinity without a limit. */
  readonly limitMs: number
}

/** Bytes of a slot's text: a length each of the name and of the id, and both. What is longer is cut. */
const TEXT_BYTES = 160
const NAME_BYTES = 110
const ID_BYTES = TEXT_BYTES - NAME_BYTES - 2
/** Numbers before those of the slots: turns of the loop, and milliseconds in which the whole process was stopped. */
const HEAD = 2
const TURNS = 0
const STOPPED = 1
/** Of each slot: when its task began, 0 for none; its limit. */
const NUMBERS = 2

/** The memory for so many tasks at once. Pages that are not used cost nothing. */
export function loopMemory(slots: number): SharedArrayBuffer {
  return new SharedArrayBuffer((HEAD + slots * NUMBERS) * Float64Array.BYTES_PER_ELEMENT + slots * TEXT_BYTES)
}

/** Both sides' view of the memory. */
export class LoopNotes {
  readonly memory: SharedArrayBuffer
  readonly #numbers: Float64Array
  readonly #text: Buffer
  readonly #slots: number
  readonly #free: number[] = []
  #used = 0

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory
    const words = memory.byteLength - HEAD * Float64Array.BYTES_PER_ELEMENT
    this.#slots = words / (NUMBERS * Float64Array.BYTES_PER_ELEMENT + TEXT_BYTES)
    this.#numbers = new Float64Array(memory, 0, HEAD + this.#slots * NUMBERS)
    this.#text = Buffer.from(memory, this.#numbers.byteLength)
  }

  /** The loop turns. */
  turn(): void {
    this.#numbers[TURNS] = this.turns + 1
  }

  get turns(): number {
    return this.#numbers[TURNS] ?? 0
  }

  /** The whole process, threads and all, was stopped for so long. Milliseconds. */
  noteStopped(milliseconds: number): void {
    this.#numbers[STOPPED] = (this.#numbers[STOPPED] ?? 0) + milliseconds
  }

  /**
   * A task begins.
   * @param limitSeconds the longest that it may run, if there is a limit
   * @returns notes its end
   */
  begin(task: string, id: string, limitSeconds: number | undefined): () => void {
    const slot = this.#free.pop() ?? this.#used++
    if (slot >= this.#slots) return () => void this.#free.push(slot)
    const at = slot * TEXT_BYTES
    this.#text[at] = this.#text.write(task, at + 2, NAME_BYTES)
    this.#text[at + 1] = this.#text.write(id, at + 2 + NAME_BYTES, ID_BYTES)
    const place = HEAD + slot * NUMBERS
    this.#numbers[place + 1] = limitSeconds === undefined ? Infinity : limitSeconds * 1000
    this.#numbers[place] = this.#now()
    return () => {
      this.#numbers[place] = 0
      this.#free.push(slot)
    }
  }

  /** The tasks that run, the one that began last first. */
  running(): RunningTask[] {
    const now = this.#now()
    const found: RunningTask[] = []
    for (let slot = 0; slot < this.#slots; slot++) {
      const place = HEAD + slot * NUMBERS
      const began = this.#numbers[place] ?? 0
      if (began === 0) continue
      const at = slot * TEXT_BYTES
      const task = this.#read(at + 2, this.#text[at])
      const id = this.#read(at + 2 + NAME_BYTES, this.#text[at + 1])
      found.push({ task, id, ranMs: now - began, limitMs: this.#numbers[place + 1] ?? Infinity })
    }
    return found.toSorted((a, b) => a.ranMs - b.ranMs)
  }

  #read(from: number, length = 0): string {
    return this.#text.toString('utf8', from, from + length)
  }

  /** A clock that stands still while the process is stopped: that time is no task's fault. */
  #now(): number {
    return sharedNow() - (this.#numbers[STOPPED] ?? 0)
  }
}
