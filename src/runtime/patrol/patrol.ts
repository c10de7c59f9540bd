// A patrol: looks one after another, and what follows from them. Pure, but for what it remembers. The reading is in reading.ts.
import { judgeBeats } from './beats.ts'
import { judgeBroker } from './broker.ts'
import { ordered, unknown, type Finding } from './finding.ts'
import type { Limits, Look } from './look.ts'
import { EMPTY, remember, type Memory } from './memory.ts'
import { judgeQueues, stalledQueues, type StalledQueue } from './queues.ts'

export class Patrol {
  readonly #limits: Limits
  #memory: Memory = EMPTY
  #stalled: readonly StalledQueue[] = []

  constructor(limits: Limits) {
    this.#limits = limits
  }

  /** Looks so far, since the broker could be asked. */
  get looks(): number {
    return this.#memory.looks
  }

  /** What stands still by the last look. */
  get stalled(): readonly StalledQueue[] {
    return this.#stalled
  }

  /** What is found by this look and those before it. From the second one on it is whole. */
  see(look: Look): Finding[] {
    this.#memory = remember(this.#memory, look)
    this.#stalled = stalledQueues(look, this.#memory, this.#limits)
    return ordered([
      ...judgeBroker(look, this.#memory, this.#limits),
      ...judgeQueues(look, this.#memory, this.#limits),
      ...judgeBeats(look, this.#memory, this.#limits),
    ])
  }

  /**
   * The broker could not be asked at all. What stood still before is forgotten: nobody saw whether it did meanwhile.
   * @param why redacted
   */
  blind(why: string): Finding[] {
    this.#memory = EMPTY
    this.#stalled = []
    return [unknown('broker', why)]
  }
}
