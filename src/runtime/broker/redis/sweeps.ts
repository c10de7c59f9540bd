// When a consumer looks after what belongs to nobody: promotes parked messages that are due, recovers those whose lease has ended.
// It only says which scripts are due; they go out with the next tick.
import type { Clock } from '../../clock.ts'
import type { Keys } from './keys.ts'
import { promoteCall, recoverCall } from './queue-calls.ts'
import type { ScriptCall } from './scripts.ts'

/** The longest time between two looks for work. Milliseconds. */
export const POLL_MS = 250
/** With the lease and the delay below: a killed worker's messages are back within 15 s. */
const RECOVER_EVERY_MS = 3000
/** After a connect others get this long to renew what they hold: they reconnect within 3 s. */
const RECOVERY_DELAY_MS = 4500
/** However soon a parked message is due: a pause between two looks. */
const LEAST_PAUSE_MS = 20

export class Sweeps {
  readonly #clock: Clock
  readonly #random: () => number
  #connectedAt = 0
  #recoveredAt = 0
  #promotedAt = 0
  /** When the next parked message is due, on the monotonic clock. */
  #nextDue: number | undefined

  constructor(clock: Clock, random: () => number) {
    this.#clock = clock
    this.#random = random
  }

  /** The broker is there, again. */
  connected(): void {
    this.#connectedAt = this.#clock.monotonic()
  }

  /** The scripts that are due now; each counts as done. */
  due(keys: Keys, queues: readonly string[]): ScriptCall[] {
    if (queues.length === 0) return []
    const calls: ScriptCall[] = []
    const now = this.#clock.monotonic()
    if (now - this.#promotedAt >= POLL_MS * 0.8) {
      this.#promotedAt = now
      calls.push(promoteCall(keys, queues))
    }
    if (now - this.#recoveredAt >= RECOVER_EVERY_MS && now - this.#connectedAt >= RECOVERY_DELAY_MS) {
      this.#recoveredAt = now - this.#random() * 500
      calls.push(recoverCall(keys, queues))
    }
    return calls
  }

  /** What promote.lua said: how many it moved, and in how many milliseconds the next one is due. */
  promoted(reply: unknown): void {
    if (!Array.isArray(reply)) return
    const dueIn = Number(reply[1])
    this.#nextDue = dueIn < 0 ? undefined : this.#clock.monotonic() + dueIn
  }

  /** Milliseconds until an idle consumer looks again; a promotion that is due by then goes with it. */
  pause(): number {
    const dueIn =
      this.#nextDue === undefined ? Infinity : Math.max(LEAST_PAUSE_MS, this.#nextDue - this.#clock.monotonic())
    if (dueIn <= POLL_MS) this.#promotedAt = 0
    return Math.min(POLL_MS * (0.9 + this.#random() * 0.2), dueIn)
  }
}
