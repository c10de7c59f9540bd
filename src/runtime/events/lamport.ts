// The logical clock that Celery's workers put into events and replies, so that a monitor can order them.

export class LamportClock {
  #value = 0

  get value(): number {
    return this.#value
  }

  /** Ticks, and tells the new time. */
  forward(): number {
    this.#value += 1
    return this.#value
  }

  /** Another's time was seen. */
  adjust(other: unknown): void {
    const seen = typeof other === 'string' ? Number(other) : other
    if (typeof seen === 'number' && Number.isSafeInteger(seen)) this.#value = Math.max(this.#value, seen) + 1
  }
}
