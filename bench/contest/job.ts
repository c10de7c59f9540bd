// The job itself, for the contestants that run on Node: the same work and the same stopwatch for each.

import { pbkdf2Sync } from 'node:crypto'
import type { JobArgs, Load } from './load.ts'

/** The machine's monotonic clock, which Python's time.monotonic_ns reads too. */
export function nowMicros(): number {
  return Number(process.hrtime.bigint() / 1000n)
}

export class Job {
  readonly #load: Load
  readonly late: number[] = []

  constructor(load: Load) {
    this.#load = load
  }

  /** What a handler does, and returns. */
  run([number, sentMicros]: JobArgs): number | Promise<number> {
    if (sentMicros > 0) this.late.push(nowMicros() - sentMicros)
    const { work, hashRounds } = this.#load
    if (work === 'nothing') return number
    if (work === 'io') return new Promise((resolve) => setTimeout(resolve, 1, number))
    pbkdf2Sync('a', 'b', hashRounds, 32, 'sha256')
    return number
  }
}
