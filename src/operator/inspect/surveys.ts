// What a broker says to everybody who looks at it, asked once for all TaskQueues that share its connection.

import type { BrokerConnection } from '@taskqueue/runtime/broker'
import { survey, type Survey } from '@taskqueue/runtime/patrol'
import type { Clock } from '../clock.ts'

interface Asked {
  readonly at: number
  readonly told: Promise<Survey>
}

export class Surveys {
  readonly #clock: Clock
  readonly #askMs: number
  /** They go with their connection. */
  readonly #asked = new WeakMap<BrokerConnection, Asked>()

  /** @param askMs how long workers may take to answer */
  constructor(clock: Clock, askMs: number) {
    this.#clock = clock
    this.#askMs = askMs
  }

  /** @param maxAgeMs an answer that somebody else was given will do when it is no older; @throws BrokerError */
  of(connection: BrokerConnection, maxAgeMs: number): Promise<Survey> {
    const now = this.#clock.monotonic()
    const last = this.#asked.get(connection)
    if (last && now - last.at <= maxAgeMs) return last.told
    const told = survey({ store: connection, transport: connection, askMs: this.#askMs })
    const asked = { at: now, told }
    this.#asked.set(connection, asked)
    // One that failed is nobody's answer.
    told.catch(() => {
      if (this.#asked.get(connection) === asked) this.#asked.delete(connection)
    })
    return told
  }
}
