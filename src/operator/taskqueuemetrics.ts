// What Prometheus reads of each TaskQueue: conditions and pools as status has them, depths of queues as the broker told them last. Read at
// the scrape from what is known, so that a TaskQueue that is gone leaves no series. Not the operator's own figures: those are in metrics.ts.

import { Gauge, type Registry } from 'prom-client'
import type { BrokerObservation } from './inspect/observation.ts'
import { keyOf, type ObjectKey } from './objects.ts'
import type { TaskQueue } from './taskqueue.ts'

/** Where the TaskQueues and what is known of their brokers come from; both are empty in an operator that only stands by. */
export interface TaskQueueSource {
  taskQueues(): Iterable<TaskQueue>
  latest(key: ObjectKey): BrokerObservation | undefined
}

type Labels = Readonly<Record<string, string>>
export type Sample = readonly [labels: Labels, value: number]

interface Family {
  readonly name: string
  readonly help: string
  readonly labels: readonly string[]
  readonly samples: (queue: TaskQueue, broker: BrokerObservation | undefined) => readonly Sample[]
}

const families: readonly Family[] = [
  {
    name: 'taskqueue_status_condition',
    help: 'The conditions of a TaskQueue: 1 for the status that each has, and no series for those that it has not.',
    // Without the reason: an alert waits for a series to last, and a reason may change while a condition stays False.
    labels: ['condition', 'status'],
    samples: ({ status }) =>
      (status?.conditions ?? []).map(({ type, status: state }) => [{ condition: type, status: state }, 1]),
  },
  {
    name: 'taskqueue_queue_messages',
    help: 'Messages of a queue: waiting, in_flight (taken and not settled) or parked (waiting for their time).',
    labels: ['queue', 'state'],
    samples: (_, broker) =>
      broker?.reachable !== true
        ? []
        : [...broker.queues].flatMap(([queue, { waiting, inFlight, parked }]): Sample[] => [
            [{ queue, state: 'waiting' }, waiting],
            [{ queue, state: 'in_flight' }, inFlight],
            [{ queue, state: 'parked' }, parked],
          ]),
  },
  {
    name: 'taskqueue_pool_pods_ready',
    help: 'Pods of a worker pool that are ready.',
    labels: ['pool'],
    samples: ({ status }) => (status?.pools ?? []).map(({ name, ready }) => [{ pool: name }, ready]),
  },
  {
    name: 'taskqueue_pool_pods_wanted',
    help: 'Pods that a worker pool should have.',
    labels: ['pool'],
    samples: ({ status }) => (status?.pools ?? []).map(({ name, wanted }) => [{ pool: name }, wanted]),
  },
  {
    name: 'taskqueue_broker_dead_letters',
    help: 'Dead letters in the broker and key prefix of a TaskQueue; of a shared broker each TaskQueue tells all.',
    labels: [],
    samples: ({ status }) => (status?.deadLetters === undefined ? [] : [[{}, status.deadLetters.count]]),
  },
]

/** Names of the TaskQueue come first: `namespace` and `taskqueue`, as the metrics of its pods have them. */
export function registerTaskQueueMetrics(registry: Registry, source: TaskQueueSource): void {
  for (const { name, help, labels, samples } of families)
    new Gauge({
      name,
      help,
      labelNames: ['namespace', 'taskqueue', ...labels],
      registers: [registry],
      collect() {
        this.reset()
        for (const queue of source.taskQueues()) {
          const of = { namespace: queue.metadata.namespace ?? '', taskqueue: queue.metadata.name }
          for (const [own, value] of samples(queue, source.latest(keyOf(queue)))) this.set({ ...of, ...own }, value)
        }
      },
    })
}
