// This machine's two clocks: the wall clock, which somebody may set, and the monotonic one, which nobody can. Injected where time matters.

export interface HostClock {
  /** Milliseconds since 1970, as the machine believes. */
  wall(): number
  /** Milliseconds since some moment; never set, never goes back. */
  monotonic(): number
}

/** Node tells the wall clock in whole milliseconds, cut off: its middle is half of one later, and it may be wrong by as much. */
export const WALL_ERROR_SECONDS = 0.0005

export const hostClock: HostClock = {
  wall: () => Date.now() + WALL_ERROR_SECONDS * 1000,
  monotonic: () => performance.now(),
}
