// Counts of queues. Cheap: lengths and cardinalities only, whatever lies in the queues.
import type { Redis } from 'ioredis'
import { PRIORITY_STEPS } from '../../protocol/queue-key.ts'
import type { Depth } from '../transport.ts'
import type { Keys } from './keys.ts'
import { runScript } from './scripts.ts'

/** Reads the depth of queues; numbers of queues that other TaskQueues use are read as well, to tell ours from Python's. */
export async function readDepth(redis: Redis, keys: Keys, queues: readonly string[]): Promise<Depth> {
  const known = await redis.smembers(keys.queues)
  const all = [...new Set([...queues, ...known])]
  const reply = await runScript(redis, {
    name: 'depth',
    keys: [
      keys.unacked,
      ...all.flatMap((queue) => [
        ...PRIORITY_STEPS.map((step) => keys.list(queue, step)),
        keys.leases(queue),
        keys.parked(queue),
      ]),
    ],
    args: [],
  })
  const [unacked = 0, ...counts] = Array.isArray(reply) ? reply.map(Number) : []
  const depths = all.map((queue, i) => ({
    queue,
    waiting: counts[i * 3] ?? 0,
    inFlight: counts[i * 3 + 1] ?? 0,
    parked: counts[i * 3 + 2] ?? 0,
  }))
  const ours = depths.reduce((sum, depth) => sum + depth.inFlight + depth.parked, 0)
  return { queues: depths.filter(({ queue }) => queues.includes(queue)), foreignUnacked: Math.max(0, unacked - ours) }
}
