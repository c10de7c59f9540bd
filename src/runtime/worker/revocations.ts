// The tasks that were called off, by id: they don't begin any more. Bounded as Celery bounds it, 50,000 ids for three hours.

/** Milliseconds for which an id is remembered: Celery's REVOKE_EXPIRES. */
export const REVOKED_FOR_MS = 10_800_000
/** Celery's REVOKES_MAX. */
export const MOST_REVOKED = 50_000

export class Revocations {
  /** By id, when it may be forgotten. The oldest come first. */
  readonly #until = new Map<string, number>()

  /** @param now milliseconds, of the same clock in all calls */
  add(ids: Iterable<string>, now: number): void {
    for (const id of ids) {
      this.#until.delete(id)
      this.#until.set(id, now + REVOKED_FOR_MS)
    }
    for (const [id, until] of this.#until) {
      if (until > now && this.#until.size <= MOST_REVOKED) break
      this.#until.delete(id)
    }
  }

  has(id: string, now: number): boolean {
    // Nearly always empty: a lookup a task is not worth having then.
    return this.#until.size > 0 && (this.#until.get(id) ?? 0) > now
  }

  /** The oldest first. */
  list(now: number): string[] {
    return [...this.#until].filter(([, until]) => until > now).map(([id]) => id)
  }
}
