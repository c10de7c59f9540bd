// Chance that can be repeated: a seed draws the same jobs and the same faults again.

export class Draw {
  #state: number

  /** @param seed 1 to 2147483646 */
  constructor(seed: number) {
    this.#state = seed
  }

  /** From 0 to 1. */
  next(): number {
    // Lehmer's generator with Park and Miller's numbers.
    this.#state = (this.#state * 48_271) % 0x7fff_ffff
    return this.#state / 0x7fff_ffff
  }

  between(least: number, most: number): number {
    return least + this.next() * (most - least)
  }

  one<T>(list: readonly T[]): T {
    const drawn = list[Math.floor(this.next() * list.length)]
    if (drawn === undefined) throw new RangeError('there is nothing to draw from')
    return drawn
  }
}
