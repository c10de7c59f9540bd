// The clocks as Prometheus reads them. Pure. A figure that is not known has no sample; taskqueue_clock_known says so.

import type { Clocks } from './clocks.ts'

interface Pair {
  readonly against: 'broker' | 'ntp' | 'beat'
  /** This machine's clock minus the other's, in seconds. */
  readonly offset: number
  readonly roundTrip: number
  readonly age: number
}

export function clockMetrics(clocks: Clocks | undefined, now = performance.now()): string {
  const pairs = pairsOf(clocks, now)
  const ntp = clocks?.ntp?.measurement
  const tracking = clocks?.discipline?.tracking
  const of = (figure: (pair: Pair) => number): string[] =>
    pairs.map((pair) => `{against="${pair.against}"} ${figure(pair)}`)
  const known = (['broker', 'ntp', 'beat'] as const).map(
    (against) => `{against="${against}"} ${pairs.some((pair) => pair.against === against) ? 1 : 0}`,
  )
  return [
    family('clock_known', 'gauge', '1 while the offset to the other clock is known.', known),
    family(
      'clock_offset_seconds',
      'gauge',
      "This machine's clock minus the other's.",
      of(({ offset }) => offset),
    ),
    family(
      'clock_round_trip_seconds',
      'gauge',
      'Round trip of the measurement.',
      of(({ roundTrip }) => roundTrip),
    ),
    family(
      'clock_measurement_age_seconds',
      'gauge',
      'Age of the measurement.',
      of(({ age }) => age),
    ),
    family(
      'clock_source_info',
      'gauge',
      'The NTP server that is believed.',
      ntp ? [`{source="${label(ntp.source)}",stratum="${ntp.stratum}"} 1`] : [],
    ),
    family('clock_stratum', 'gauge', 'Stratum of the NTP server that is believed.', ntp ? [` ${ntp.stratum}`] : []),
    family(
      'clock_steps_total',
      'counter',
      "How often this machine's clock was set since the start.",
      clocks ? [` ${clocks.steps.steps.count}`] : [],
    ),
    family(
      'clock_discipline_offset_seconds',
      'gauge',
      "This machine's clock minus the time as chronyd on the node knows it.",
      tracking ? [` ${tracking.systemOffsetSeconds}`] : [],
    ),
  ].join('')
}

function pairsOf(clocks: Clocks | undefined, now: number): Pair[] {
  const pairs: Pair[] = []
  const broker = clocks?.broker?.measurement
  if (broker)
    pairs.push({
      against: 'broker',
      offset: broker.offsetSeconds,
      roundTrip: broker.errorSeconds * 2,
      age: (now - broker.at) / 1000,
    })
  const ntp = clocks?.ntp?.measurement
  if (ntp)
    pairs.push({ against: 'ntp', offset: ntp.offsetSeconds, roundTrip: ntp.delaySeconds, age: (now - ntp.at) / 1000 })
  const beat = clocks?.beat
  // Told by Clocks the other way round, as beat's clock minus ours.
  if (beat)
    pairs.push({
      against: 'beat',
      offset: 0 - beat.offsetSeconds,
      roundTrip: beat.errorSeconds * 2,
      age: beat.ageSeconds,
    })
  return pairs
}

function family(name: string, type: 'gauge' | 'counter', help: string, samples: readonly string[]): string {
  if (samples.length === 0) return ''
  const full = `taskqueue_${name}`
  return [`# HELP ${full} ${help}`, `# TYPE ${full} ${type}`, ...samples.map((sample) => `${full}${sample}`), ''].join(
    '\n',
  )
}

function label(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
