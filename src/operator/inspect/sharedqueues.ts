// Queues that several TaskQueues consume on one broker: each takes the others' tasks. Right where both know them all, such as Node and Python
// workers of one queue, and a loss of tasks where they don't. Pure.

import type { Finding } from '@taskqueue/runtime/patrol'
import type { PatrolTarget } from './patroltarget.ts'

/** A TaskQueue and where its queues are. */
export interface Consuming {
  /** Of the broker, database included, whoever it is spoken to as; undefined while nobody has. */
  readonly broker: string | undefined
  readonly target: Pick<PatrolTarget, 'namespace' | 'name' | 'queues' | 'suspended'>
}

/** Where a broker is, without who speaks to it: two users of one broker have the same queues. */
export function brokerOf(url: string): string {
  return url.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/?#]*@/i, '$1')
}

/** One finding for each of `own`'s queues that another one consumes too. A suspended one consumes nothing. */
export function sharedQueues(own: Consuming, all: Iterable<Consuming>): Finding[] {
  const { broker, target } = own
  if (broker === undefined || target.suspended || target.queues.length === 0) return []
  const wanted = new Set(target.queues)
  const others = new Map<string, string[]>()
  for (const other of all) {
    if (other.target === target || other.broker !== broker || other.target.suspended) continue
    for (const queue of other.target.queues) {
      if (!wanted.has(queue)) continue
      const names = others.get(queue) ?? []
      names.push(`${other.target.namespace}/${other.target.name}`)
      others.set(queue, names)
    }
  }
  return [...others].map(([queue, names]) => ({
    code: 'QueueShared',
    severity: 'notice',
    subject: `queue ${queue}`,
    saw: `TaskQueue ${names.sort().join(', ')} consumes the queue too, on the same broker: each takes the other's tasks.`,
    todo: 'Where not all of their workers know the same tasks, give each its own queue names: Node makes a dead letter of a task it does not know, Celery throws it away.',
  }))
}
