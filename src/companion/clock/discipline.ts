// What the chronyd of this node says of the clock that it corrects. Nothing is corrected here: without a chronyd clocks are only monitored,
// and it is told why.

import { askTracking, trackingTrouble, type Tracking } from './chronytracking.ts'
import { Pause } from './pause.ts'
import type { ServerAddress } from './serverlist.ts'
import { Trouble, text, type Report } from './trouble.ts'

const EVERY_MS = 30_000
/** While chronyd does not answer, or is not synchronised yet. */
const RETRY_MS = 10_000
const STALE_MS = 100_000

export class Discipline {
  readonly #node: ServerAddress | undefined
  readonly #changed: () => void
  readonly #pause = new Pause()
  readonly #trouble: Trouble
  #tracking: { readonly said: Tracking; readonly at: number } | undefined

  /**
   * @param node where its chronyd listens for questions; undefined when that is not known
   * @param changed called when chronyd becomes known or unknown
   */
  constructor(node: ServerAddress | undefined, report: Report, changed: () => void) {
    this.#node = node
    this.#changed = changed
    this.#trouble = new Trouble(
      report,
      (message) => `Clocks are monitored only: ${message}.`,
      'chronyd on the node corrects its clock.',
    )
    if (!node)
      this.#trouble.set(
        'the address of the node is not known (TASKQUEUE_COMPANION_NODE_IP), so its chronyd can not be asked',
      )
  }

  /** Undefined while chronyd does not answer or follows nobody. */
  get tracking(): (Tracking & { readonly ageSeconds: number }) | undefined {
    if (!this.#tracking) return undefined
    const ageMs = performance.now() - this.#tracking.at
    return ageMs > STALE_MS ? undefined : { ...this.#tracking.said, ageSeconds: ageMs / 1000 }
  }

  /** Why there is none; undefined while there is. */
  get trouble(): string | undefined {
    return this.#trouble.now
  }

  /** Asks until the signal aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const node = this.#node
    if (!node) return
    while (!signal.aborted) {
      const before = this.trouble
      await this.#look(node)
      if (this.trouble !== before) this.#changed()
      const pauseMs = this.trouble === undefined ? EVERY_MS : RETRY_MS
      await this.#pause.wait(pauseMs * (0.9 + Math.random() * 0.2), signal)
    }
  }

  /** The clock was set: what chronyd said is asked again at once. */
  askAgain(): void {
    this.#tracking = undefined
    this.#pause.cut()
  }

  async #look({ host, port }: ServerAddress): Promise<void> {
    try {
      const said = await askTracking(host, port)
      const trouble = trackingTrouble(said)
      this.#tracking = trouble === undefined ? { said, at: performance.now() } : undefined
      this.#trouble.set(trouble && `chronyd on the node ${trouble}`)
    } catch (error) {
      this.#tracking = undefined
      this.#trouble.set(`chronyd on the node ${text(error)}`)
    }
  }
}
