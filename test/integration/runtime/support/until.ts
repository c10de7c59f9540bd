// Waiting in tests: for a condition, with a deadline that says what was waited for. Never for time to pass.
import { setTimeout as pause } from 'node:timers/promises'

/** Resolves with the first value that isn't false or undefined. */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  seconds = 30,
): Promise<T> {
  const deadline = performance.now() + seconds * 1000
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    if (performance.now() > deadline) throw new Error(`waited ${seconds} s in vain until ${what}`)
    await pause(25)
  }
}
