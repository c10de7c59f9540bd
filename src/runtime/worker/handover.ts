// Hands outcomes over to the broker. Where results live elsewhere they are stored first: a result too many is harmless, one too few
// is not. Counts what is on its way, so that a worker that stops can wait for it.
import type { Outcome, ResultWrite } from '../broker/transport.ts'
import type { Logger } from '../log.ts'

export interface HandoverDeps {
  /** Hands an outcome to the broker. */
  readonly settle: (outcome: Outcome, queue: string) => void
  /** A slot is free again. */
  readonly release: () => void
  /** Stores a result that can't be part of an outcome. */
  readonly writeResult: (result: ResultWrite) => Promise<void>
  /** True when results are stored by the broker together with outcomes. */
  readonly resultsInOutcome: boolean
}

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
   * Settles a delivery and frees its slot, whatever comes. Never rejects.
   * @param counts whether the outcome still counts once its result is stored: the lease may be lost meanwhile
   */
  async give(outcome: Outcome, queue: string, log: Logger, counts: () => boolean = () => true): Promise<void> {
    const { settle, release, writeResult, resultsInOutcome } = this.#deps
    if (outcome.result === undefined || resultsInOutcome) {
      settle(outcome, queue)
      release()
      return
    }
    const { result, ...rest } = outcome
    this.#pending += 1
    try {
      await writeResult(result)
    } catch (error) {
      log.error({ event: 'result-not-stored', task_id: result.taskId, error }, 'the result could not be stored')
    }
    this.#pending -= 1
    if (counts()) settle(rest, queue)
    release()
  }
}
