// All that the companion knows of clocks: this machine's against the broker's, NTP's and beat's, its steps, and who corrects it. It ties
// the parts together and measures nothing itself.

import type { AgedBeatClock } from '@taskqueue/runtime/broker'
import type { Settings } from '../settings.ts'
import { BrokerClock, type CeleryWorker } from './brokerclock.ts'
import { Discipline } from './discipline.ts'
import { NtpClock } from './ntpclock.ts'
import { StepWatch } from './stepwatch.ts'
import type { Report } from './trouble.ts'

/** One clock against another. */
export interface Difference {
  readonly offsetSeconds: number
  /** How far that may be wrong, in seconds. */
  readonly errorSeconds: number
}

export class Clocks {
  readonly broker: BrokerClock | undefined
  readonly ntp: NtpClock | undefined
  readonly discipline: Discipline | undefined
  readonly steps: StepWatch

  /** @param celery the worker beside us, of which is told with the clock */
  constructor(settings: Settings, report: Report, celery?: CeleryWorker) {
    const tell = (): void => this.broker?.lookAgain()
    this.ntp = settings.servers.length > 0 ? new NtpClock(settings.servers, report, tell) : undefined
    this.discipline = settings.clock === 'Discipline' ? new Discipline(settings.node, report, tell) : undefined
    this.broker =
      settings.brokerUrl === ''
        ? undefined
        : new BrokerClock(settings, report, { celery, detail: () => this.#detail() })
    this.steps = new StepWatch(report, () => {
      this.ntp?.measureAgain()
      this.discipline?.askAgain()
      this.broker?.measureAgain()
    })
  }

  /** The broker's clock minus NTP's: both were measured against this machine's. */
  get brokerAgainstNtp(): Difference | undefined {
    const [broker, ntp] = [this.broker?.measurement, this.ntp?.measurement]
    return broker && ntp ? difference(ntp, broker) : undefined
  }

  /** The clock of beat's machine minus this one's: both were measured against the broker's. */
  get beat(): AgedBeatClock | undefined {
    const [mine, beat] = [this.broker?.measurement, this.broker?.beat]
    return mine && beat ? { ...difference(beat, mine), ageSeconds: beat.ageSeconds } : undefined
  }

  /** Measures until the signal aborts; resolves once the presence entry is gone. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    this.steps.start(signal)
    // They hold nothing that must be given back: the process may end while they wait for an answer.
    void this.ntp?.run(signal)
    void this.discipline?.run(signal)
    if (this.broker) await this.broker.run(signal)
    else if (!signal.aborted)
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  }

  /** What the presence entry says beside the offset to the broker. */
  #detail(): Record<string, unknown> {
    const detail: Record<string, unknown> = {}
    if (this.ntp) {
      const known = this.ntp.measurement
      const { trouble } = this.ntp
      detail['ntp'] = known
        ? {
            offsetSeconds: milliseconds(known.offsetSeconds),
            // Upwards: an error of 0 would claim too much.
            errorSeconds: Math.ceil(known.errorSeconds * 1000) / 1000,
            source: known.source,
            stratum: known.stratum,
          }
        : null
      if (!known && trouble !== undefined) detail['ntpTrouble'] = trouble
    }
    if (this.discipline?.tracking) detail['clockSource'] = 'chronyd'
    else if (this.discipline?.trouble !== undefined) detail['disciplineTrouble'] = this.discipline.trouble
    return detail
  }
}

function difference(a: Difference, b: Difference): Difference {
  return { offsetSeconds: a.offsetSeconds - b.offsetSeconds, errorSeconds: a.errorSeconds + b.errorSeconds }
}

/** Seconds, rounded to milliseconds. */
function milliseconds(seconds: number): number {
  return Math.round(seconds * 1000) / 1000
}
