// A pause between two looks that can be cut short, so that a step of the clock is followed at once.

export class Pause {
  #end: (() => void) | undefined
  #cut = false

  /** Ends the pause that is under way; without one the next ends as it begins. */
  cut(): void {
    if (this.#end) this.#end()
    else this.#cut = true
  }

  /** Resolves after so long, when it is cut short, or when the signal aborts. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#cut || signal.aborted) {
      this.#cut = false
      return
    }
    await new Promise<void>((resolve) => {
      const end = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', end)
        this.#end = undefined
        resolve()
      }
      const timer = setTimeout(end, ms)
      signal.addEventListener('abort', end)
      this.#end = end
    })
  }
}
