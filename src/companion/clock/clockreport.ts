// What /clock says. Pure. Each offset is "X minus its reference" (docs/clocks.md); what is not known is null, never 0.

import type { Settings } from '../settings.ts'
import type { Clocks } from './clocks.ts'
import type { Measurement } from './measurement.ts'
import type { Steps } from './stepwatch.ts'

const NO_STEPS: Steps = { count: 0, lastSeconds: null, lastAgeSeconds: null }

export function clockReport(
  { clock: mode }: Settings,
  clocks: Clocks | undefined,
  now = performance.now(),
): Record<string, unknown> {
  if (!clocks) return { mode, host: null, broker: null, brokerAgainstNtp: null, beat: null, steps: NO_STEPS }
  const { broker, discipline, ntp } = clocks
  const tracking = discipline?.tracking
  return {
    mode,
    host: ntp ? hostReport(ntp, now) : null,
    broker: brokerReport(broker?.measurement, now),
    brokerAgainstNtp: clocks.brokerAgainstNtp ?? null,
    beat: clocks.beat ?? null,
    steps: clocks.steps.steps,
    ...(tracking === undefined ? told('disciplineTrouble', discipline?.trouble) : { discipline: tracking }),
    ...told('trouble', broker?.trouble),
    ...told('ntpTrouble', ntp?.trouble),
  }
}

function brokerReport(known: Measurement | undefined, now: number): Record<string, number> | null {
  if (!known) return null
  const { offsetSeconds, errorSeconds, at } = known
  return { offsetSeconds, errorSeconds, ageSeconds: (now - at) / 1000 }
}

/** The servers are told of also while nothing is known: that is when they are looked at. */
function hostReport(ntp: NonNullable<Clocks['ntp']>, now: number): Record<string, unknown> {
  const known = ntp.measurement
  return {
    offsetSeconds: known?.offsetSeconds ?? null,
    errorSeconds: known?.errorSeconds ?? null,
    ageSeconds: known ? (now - known.at) / 1000 : null,
    source: known?.source ?? null,
    stratum: known?.stratum ?? null,
    servers: ntp.servers,
  }
}

function told(name: string, trouble: string | undefined): Record<string, string> {
  return trouble === undefined ? {} : { [name]: trouble }
}
