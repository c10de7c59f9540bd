// Schedules in the order in which they are due, so that a turn looks at those that are and not at ten thousand others.

interface Entry {
  readonly name: string
  readonly dueAt: number
}

export class DueOrder {
  /** The one due last comes first, so that what is due is popped off the end. */
  #entries: Entry[] = []

  /** Forgets what it had: these are due, each at once. */
  reset(names: Iterable<string>): void {
    this.#entries = Array.from(names, (name) => ({ name, dueAt: -Infinity }))
  }

  /** A schedule is in here once at most: it is put back when it has been taken. */
  add(name: string, dueAt: number): void {
    let low = 0
    let high = this.#entries.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#entries[middle] as Entry).dueAt > dueAt) low = middle + 1
      else high = middle
    }
    this.#entries.splice(low, 0, { name, dueAt })
  }

  /** Takes out the one that has been due for longest; undefined when none is. */
  take(now: number): string | undefined {
    const next = this.#entries.at(-1)
    if (!next || next.dueAt > now) return undefined
    this.#entries.pop()
    return next.name
  }

  /** When the next is due; undefined when there is none. */
  get nextAt(): number | undefined {
    return this.#entries.at(-1)?.dueAt
  }
}
