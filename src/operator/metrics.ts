// The operator's Prometheus metrics. Names follow Prometheus' conventions; nothing secret is a label.

import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'

export class OperatorMetrics {
  readonly registry = new Registry()
  readonly reconciles = new Counter({
    name: 'taskqueue_operator_reconciles_total',
    help: 'Reconciles by outcome.',
    labelNames: ['outcome'] as const,
    registers: [this.registry],
  })
  readonly reconcileSeconds = new Histogram({
    name: 'taskqueue_operator_reconcile_seconds',
    help: 'Duration of a reconcile.',
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10],
    registers: [this.registry],
  })
  readonly watchTroubles = new Counter({
    name: 'taskqueue_operator_watch_troubles_total',
    help: 'Lists and watches that failed and were tried again.',
    registers: [this.registry],
  })
  readonly leader = new Gauge({
    name: 'taskqueue_operator_leader',
    help: '1 while this process leads.',
    registers: [this.registry],
  })

  /** `depth` is read when the metrics are scraped. */
  constructor(depth: () => number) {
    // Its timer wakes the process: ten times a second, not a hundred, or most of what idling costs would be this.
    collectDefaultMetrics({ register: this.registry, eventLoopMonitoringPrecision: 100 })
    new Gauge({
      name: 'taskqueue_operator_workqueue_depth',
      help: 'TaskQueues that wait to be reconciled.',
      registers: [this.registry],
      collect() {
        this.set(depth())
      },
    })
  }
}
