// When a consumer looks after what belongs to nobody: promotes parked messages that are due, recovers those whose lease has ended.
// Keeps dead letters within their bounds, too. It only says which scripts are due; they go out with the next tick.
import type { Clock } from '../../clock.ts'
import type { Keys } from './keys.ts'
import { promoteCall, recoverCall, SWEEP_BATCH, trimDeadCall } from './queue-calls.ts'
import type { ScriptCall } from './scripts.ts'
import type { DeadBounds } from './settle-call.ts'

/** The longest time between two looks for work. Milliseconds. */
export const POLL_MS = 250
/** With the lease and the delay below: a killed worker's messages are back within 15 s. */
const RECOVER_EVERY_MS = 3000
/** After a connect others get this long to renew what they hold: they reconnect within 3 s. */
const RECOVERY_DELAY_MS = 4500
/** Dead letters are counted and trimmed so often; each new one trims as well. */
const TRIM_EVERY_MS = 10_000
/** However soon a parked message is due: a pause between two looks. */
const LEAST_PAUSE_MS = 20

/** The bounds of the dead letters, and who wants to know how many there are. */
export interface DeadLetterKeeping extends DeadBounds {
  /** @param forgotten how many went beyond a bound since this was told last, to any worker */
  readonly onCount?: (count: number, forgotten: number) => void
}

export class Sweeps {
  readonly #clock: Clock
  readonly #random: () => number
  readonly #dead: DeadLetterKeeping
  #connectedAt = 0
  #recoveredAt = 0
  #promotedAt = 0
  #trimmedAt = -TRIM_EVERY_MS
  /** When the next parked message is due, on the monotonic clock. */
  #nextDue: number | undefined

  constructor(clock: Clock, random: () => number, dead: DeadLetterKeeping) {
    this.#dead = dead
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
    if (now - this.#trimmedAt >= TRIM_EVERY_MS) {
      this.#trimmedAt = now - this.#random() * 500
      calls.push(trimDeadCall(keys, this.#dead))
    }
    return calls
  }

  /** What the scripts said, by their names. */
  landed(replies: ReadonlyMap<string, unknown>): void {
    this.#promoted(replies.get('promote'))
    const dead = replies.get('trim-dead-letters')
    if (Array.isArray(dead)) this.#dead.onCount?.(Number(dead[0]), Number(dead[1]))
  }

  /** How many promote.lua moved, and in how many milliseconds the next one is due. */
  #promoted(reply: unknown): void {
    if (!Array.isArray(reply)) return
    const dueIn = Number(reply[1])
    this.#nextDue = dueIn < 0 ? undefined : this.#clock.monotonic() + dueIn
    // There are more than one call moves: the next tick takes another.
    if (Number(reply[0]) >= SWEEP_BATCH) this.#promotedAt = 0
  }

  /** Milliseconds until an idle consumer looks again; a promotion that is due by then goes with it. */
  pause(): number {
    const dueIn =
      this.#nextDue === undefined ? Infinity : Math.max(LEAST_PAUSE_MS, this.#nextDue - this.#clock.monotonic())
    if (dueIn <= POLL_MS) this.#promotedAt = 0
    return Math.min(POLL_MS * (0.9 + this.#random() * 0.2), dueIn)
  }
}
