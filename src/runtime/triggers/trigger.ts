// When something runs: slots on the time line. Pure functions of instants in milliseconds since the epoch; no timers.

/** A source of slots. */
export interface Trigger {
  /** The first slot strictly after an instant; undefined when there is none any more. */
  next(after: number): number | undefined
  /** The only slot of a trigger that is a date: one that has just passed when it is first seen is still owed. */
  readonly date?: number
  /** Milliseconds between its slots, where these are always as many. */
  readonly periodMs?: number
  /** The same trigger always has the same text; an edited one has another. */
  readonly fingerprint: string
}
