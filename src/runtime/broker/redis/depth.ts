// Counts of queues. Cheap: lengths and cardinalities only, whatever lies in the queues.
import type { Redis } from 'ioredis'
import { PRIORITY_STEPS } from '../../protocol/queue-key.ts'
import type { Depth } from '../transport.ts'
import type { Keys } from './keys.ts'
import { runScript } from './scripts.ts'

/** Reads the depth of queues. What lies in queues that others use is subtracted in Redis, to tell our records from Python's. */
export async function readDepth(redis: Redis, keys: Keys, queues: readonly string[]): Promise<Depth> {
  const names = [...new Set(queues)]
  const reply = await runScript(redis, {
    name: 'depth',
    keys: [
      keys.unacked,
      keys.queues,
      ...names.flatMap((queue) => [
        ...PRIORITY_STEPS.map((step) => keys.list(queue, step)),
        keys.leases(queue),
        keys.parked(queue),
      ]),
    ],
    args: [keys.leases(''), keys.parked(''), ...names],
  })
  const [foreignUnacked = 0, ...counts] = Array.isArray(reply) ? reply.map(Number) : []
  return {
    queues: names.map((queue, i) => ({
      queue,
      waiting: counts[i * 3] ?? 0,
      inFlight: counts[i * 3 + 1] ?? 0,
      parked: counts[i * 3 + 2] ?? 0,
    })),
    foreignUnacked,
  }
}
