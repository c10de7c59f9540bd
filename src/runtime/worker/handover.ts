// Hands outcomes over to the broker. Where results live elsewhere they are stored first: a result too many is harmless, one too few
// is not. Counts what is on its way, so that a worker that stops can wait for it.
import type { Store } from '../broker/store.ts'
import type { Following, Outcome } from '../broker/transport.ts'
import type { Logger } from '../log.ts'

export interface HandoverDeps {
  /** Hands an outcome to the broker. */
  readonly settle: (outcome: Outcome, queue: string) => void
  /** A slot is free again. */
  readonly release: () => void
  /** Stores what can't be part of an outcome. */
  readonly results: Pick<Store, 'writeResult' | 'countChord' | 'endChord'>
  /** True when results are stored by the broker together with outcomes. */
  readonly resultsInOutcome: boolean
}

const always = (): boolean => true
const NOTHING: Following = { publish: [], results: [], counts: [], chords: [] }

export class Handover {
  readonly #deps: HandoverDeps
  #pending = 0

  constructor(deps: HandoverDeps) {
    this.#deps = deps
  }

  /** Outcomes whose result is being stored. */
  get pending(): number {
    return this.#pending
  }

  /**
   * Settles a delivery and frees its slot, whatever comes: at once where it can, and then there is nothing to wait for. Never rejects.
   * @param coming the outcome, or a promise of it that does not reject
   * @param whose its log, which is made only when it is asked for
   * @param counts whether the outcome still counts when it is there: the lease may be lost meanwhile
   */
  give(
    coming: Outcome | Promise<Outcome>,
    queue: string,
    whose: { readonly log: Logger },
    counts: () => boolean = always,
  ): Promise<void> | undefined {
    const { settle, release, resultsInOutcome } = this.#deps
    const ready = !(coming instanceof Promise)
    if (ready && (resultsInOutcome || (coming.result === undefined && coming.following === undefined))) {
      settle(coming, queue)
      release()
      return undefined
    }
    return this.#giveLater(coming, queue, whose, counts)
  }

  async #giveLater(
    coming: Outcome | Promise<Outcome>,
    queue: string,
    whose: { readonly log: Logger },
    counts: () => boolean,
  ): Promise<void> {
    const { settle, release, resultsInOutcome } = this.#deps
    this.#pending += 1
    const outcome = await coming
    const rest = resultsInOutcome ? outcome : await this.#storeElsewhere(outcome, whose)
    this.#pending -= 1
    if (counts()) settle(rest, queue)
    release()
  }

  /** Stores what belongs to the store of results, and returns what is left for the broker. */
  async #storeElsewhere(
    { result, following = NOTHING, ...outcome }: Outcome,
    whose: { readonly log: Logger },
  ): Promise<Outcome> {
    const publish = [...following.publish]
    try {
      if (result) await this.#deps.results.writeResult(result)
      await this.#store(following)
      for (const chord of following.chords) {
        await this.#store(chord)
        if (await this.#deps.results.endChord(chord.groupId, chord.claim)) publish.push(...chord.publish)
      }
    } catch (error) {
      whose.log.error({ event: 'result-not-stored', taskId: result?.taskId, error }, 'the result could not be stored')
    }
    return publish.length === 0 ? outcome : { ...outcome, following: { ...NOTHING, publish } }
  }

  async #store({ results, counts }: Pick<Following, 'results' | 'counts'>): Promise<void> {
    for (const write of results) await this.#deps.results.writeResult(write)
    for (const count of counts) await this.#deps.results.countChord(count)
  }
}
