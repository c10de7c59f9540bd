// Prometheus metrics of a worker. Names and labels are a public surface: docs/monitoring.md lists them.
import { Counter, Histogram, Registry, collectDefaultMetrics } from 'prom-client'
import { scrapedGauge } from './scraped-gauge.ts'

/** A registry with the process's own metrics. */
export function createRegistry(): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  return registry
}

/** What a worker counts. */
export interface TaskMetrics {
  /** outcome: succeeded, retried, failed, expired, revoked, parked, rate-limited, given-back, lost */
  readonly tasks: Counter<'task' | 'queue' | 'outcome'>
  readonly deadLetters: Counter<'queue' | 'reason'>
  readonly duration: Histogram<'task'>
  readonly leasesLost: Counter
}

/** What a worker is asked for when it is scraped. */
export interface TaskGauges {
  running(): number
  slots(): number
  deadLetters(): number
  brokerConnected(): boolean
}

export function createTaskMetrics(registry: Registry, gauges: TaskGauges): TaskMetrics {
  const registers = [registry]
  scrapedGauge(registry, 'taskqueue_worker_running', 'Tasks that run now', () => gauges.running())
  scrapedGauge(registry, 'taskqueue_worker_slots', 'Tasks that may run at once', () => gauges.slots())
  scrapedGauge(registry, 'taskqueue_dead_letters', 'Dead letters of the broker, as counted within the last 15 s', () =>
    gauges.deadLetters(),
  )
  scrapedGauge(registry, 'taskqueue_broker_connected', '1 while the broker is reachable', () =>
    gauges.brokerConnected() ? 1 : 0,
  )
  return {
    tasks: new Counter({
      name: 'taskqueue_tasks_total',
      help: 'Deliveries by what became of them',
      labelNames: ['task', 'queue', 'outcome'],
      registers,
    }),
    deadLetters: new Counter({
      name: 'taskqueue_dead_letters_total',
      help: 'Messages that went to the dead letters',
      labelNames: ['queue', 'reason'],
      registers,
    }),
    duration: new Histogram({
      name: 'taskqueue_task_duration_seconds',
      help: 'Time a handler took, whatever its end',
      labelNames: ['task'],
      buckets: [0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 1800],
      registers,
    }),
    leasesLost: new Counter({
      name: 'taskqueue_leases_lost_total',
      help: 'Deliveries whose lease was lost while they ran',
      registers,
    }),
  }
}
