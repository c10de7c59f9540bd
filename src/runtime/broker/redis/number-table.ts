// A table from numbers that only grow to small numbers, in typed arrays: what a Map would be, without garbage. A Map that is filled and
// emptied all the time is rehashed every few entries, and V8 lets each old table point to the next: once one has come into the old generation,
// all that follow outlive the young one's collections.

/** Places at the start; twice as many whenever half are taken. A power of two. */
const PLACES = 64

export class NumberTable {
  /** By place: the number, or -1. Those that collide lie behind one another. */
  #keys = new Float64Array(PLACES).fill(-1)
  #values = new Float64Array(PLACES)
  #size = 0

  get size(): number {
    return this.#size
  }

  /** @param key a whole number, 0 or more */
  set(key: number, value: number): void {
    if (this.#size * 2 >= this.#keys.length) this.#grow()
    const place = this.#placeOf(key)
    if (this.#keys[place] !== key) this.#size += 1
    this.#keys[place] = key
    this.#values[place] = value
  }

  get(key: number): number | undefined {
    const place = this.#placeOf(key)
    return this.#keys[place] === key ? this.#values[place] : undefined
  }

  delete(key: number): void {
    const mask = this.#keys.length - 1
    let hole = this.#placeOf(key)
    if (this.#keys[hole] !== key) return
    this.#size -= 1
    // Whatever lies behind and would be found at the hole or before it moves up, so that none is cut off from its first place.
    for (let place = (hole + 1) & mask; this.#keys[place] !== -1; place = (place + 1) & mask) {
      const first = (this.#keys[place] ?? 0) % this.#keys.length
      if (((place - first) & mask) < ((place - hole) & mask)) continue
      this.#keys[hole] = this.#keys[place] ?? -1
      this.#values[hole] = this.#values[place] ?? 0
      hole = place
    }
    this.#keys[hole] = -1
  }

  *entries(): Generator<[key: number, value: number]> {
    for (const [place, key] of this.#keys.entries()) if (key !== -1) yield [key, this.#values[place] ?? 0]
  }

  /** Where the key is, or the free place where it would be. */
  #placeOf(key: number): number {
    const mask = this.#keys.length - 1
    let place = key % this.#keys.length
    while (this.#keys[place] !== key && this.#keys[place] !== -1) place = (place + 1) & mask
    return place
  }

  #grow(): void {
    const entries = [...this.entries()]
    this.#keys = new Float64Array(this.#keys.length * 2).fill(-1)
    this.#values = new Float64Array(this.#keys.length)
    this.#size = 0
    for (const [key, value] of entries) this.set(key, value)
  }
}
