// What the pods of one pool say of themselves in the broker. Pure. Nothing is known while the broker can't be asked.

import { labelKeys } from './desired/names.ts'
import type { PodPresence } from './inspect/observation.ts'
import type { Situation } from './situation.ts'
import type { WorkerPool } from './taskqueue.ts'

/** The fresh entries of the pool's own pods, workers' and companions'; none while the broker can't be asked. */
export function poolPresence(pool: Pick<WorkerPool, 'name'>, { broker, pods }: Situation): PodPresence[] {
  if (!broker?.reachable) return []
  const ours = pods.filter(({ metadata }) => metadata.labels?.[labelKeys.pool] === pool.name)
  const uids = new Set(ours.map(({ metadata }) => metadata.uid))
  return broker.presence.filter(({ podUid }) => uids.has(podUid))
}
