// How long after its slot a run is due, so that many schedules of one minute don't all arrive in its first second. The same slot always
// has the same jitter: beats that take over from each other, and restarts, agree about when it is due.
import { createHash } from 'node:crypto'

/**
 * Jitter that follows from name and slot, evenly spread.
 * @param jitterMs 0 for none
 * @returns from a slot to milliseconds, from 0 up to `jitterMs`
 */
export function jitterOf(name: string, jitterMs: number): (slot: number) => number {
  if (jitterMs === 0) return () => 0
  return (slot) => {
    const draw = createHash('sha256').update(`${name}/${slot}`).digest().readUInt32BE(0)
    return Math.floor((draw / 2 ** 32) * (jitterMs + 1))
  }
}
