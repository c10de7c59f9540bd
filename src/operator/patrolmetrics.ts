// Prometheus metrics of patrol, made from what it has seen when they are scraped: a TaskQueue that is gone has none.

import { Counter, Gauge, type Registry } from 'prom-client'
import type { PatrolFigures } from './inspect/patrols.ts'
import type { ObjectKey } from './objects.ts'

export class PatrolMetrics {
  readonly #restarts: Counter<'namespace' | 'taskqueue'>

  /** @param figures what is known of each TaskQueue */
  constructor(registry: Registry, figures: () => Iterable<PatrolFigures>) {
    new Gauge({
      name: 'taskqueue_patrol_findings',
      help: 'What patrol finds, in number of subjects; no series for what it does not find. Code Unknown: it could not be asked.',
      labelNames: ['namespace', 'taskqueue', 'code', 'severity'] as const,
      registers: [registry],
      collect() {
        this.reset()
        for (const { key, latest } of figures())
          for (const { code, severity } of latest?.findings ?? []) this.inc({ ...labelsOf(key), code, severity })
      },
    })
    new Gauge({
      name: 'taskqueue_patrol_last_look_timestamp_seconds',
      help: 'When patrol last saw the broker and its workers. It stands still while the broker can not be asked.',
      labelNames: ['namespace', 'taskqueue'] as const,
      registers: [registry],
      collect() {
        this.reset()
        for (const { key, lookedAt } of figures()) if (lookedAt !== undefined) this.set(labelsOf(key), lookedAt / 1000)
      },
    })
    this.#restarts = new Counter({
      name: 'taskqueue_patrol_restarts_total',
      help: 'Pods that were replaced since their worker took nothing beside what waited.',
      labelNames: ['namespace', 'taskqueue'] as const,
      registers: [registry],
    })
  }

  restarted(key: ObjectKey): void {
    this.#restarts.inc(labelsOf(key))
  }

  forget(key: ObjectKey): void {
    this.#restarts.remove(labelsOf(key))
  }
}

function labelsOf(key: ObjectKey): { namespace: string; taskqueue: string } {
  const [namespace = '', taskqueue = ''] = key.split('/')
  return { namespace, taskqueue }
}
