// Prometheus metrics of a beat.
import { Counter, Histogram, type Registry } from 'prom-client'
import { scrapedGauge } from './scraped-gauge.ts'

export interface BeatMetrics {
  readonly runs: Counter<'schedule'>
  readonly missed: Counter<'schedule'>
  readonly lateness: Histogram
}

/** What a beat is asked for when it is scraped. */
export interface BeatGauges {
  leader(): boolean
  held(): boolean
  schedules(): number
}

export function createBeatMetrics(registry: Registry, gauges: BeatGauges): BeatMetrics {
  const registers = [registry]
  scrapedGauge(registry, 'taskqueue_beat_leader', '1 while this beat holds the lease', () => (gauges.leader() ? 1 : 0))
  scrapedGauge(registry, 'taskqueue_beat_held', '1 while it holds its fire since clocks disagree', () =>
    gauges.held() ? 1 : 0,
  )
  scrapedGauge(registry, 'taskqueue_beat_schedules', 'Schedules loaded', () => gauges.schedules())
  return {
    runs: new Counter({
      name: 'taskqueue_schedule_runs_total',
      help: 'Slots published',
      labelNames: ['schedule'],
      registers,
    }),
    missed: new Counter({
      name: 'taskqueue_schedule_missed_total',
      help: 'Slots missed (JOB_MISSED)',
      labelNames: ['schedule'],
      registers,
    }),
    lateness: new Histogram({
      name: 'taskqueue_schedule_lateness_seconds',
      help: 'From when a slot was due, its jitter included, to its publication',
      buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600],
      registers,
    }),
  }
}
