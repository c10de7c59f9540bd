// Which presence entries still live: one whose counter has not moved for a while on our own monotonic clock is stale, whatever
// its timestamps say. Pure state; no clock of its own.

/** An entry unchanged for so long is taken as gone. Pods write every few seconds. */
const STALE_MS = 30_000

export class Freshness {
  readonly #seen = new Map<string, { counter: number; at: number }>()

  /** The entries whose counter moved within the last 30 s, as far as this reader has seen. `now` is monotonic milliseconds. */
  fresh<T extends { id: string; counter: number }>(entries: readonly T[], now: number): T[] {
    const ids = new Set(entries.map((entry) => entry.id))
    for (const id of this.#seen.keys()) if (!ids.has(id)) this.#seen.delete(id)
    return entries.filter((entry) => {
      const known = this.#seen.get(entry.id)
      if (known?.counter !== entry.counter) {
        this.#seen.set(entry.id, { counter: entry.counter, at: now })
        return true
      }
      return now - known.at < STALE_MS
    })
  }
}
