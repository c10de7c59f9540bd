// Reads parked messages, a bounded number of them, the next ones due first.
import type { Redis } from 'ioredis'
import type { Parked } from '../transport.ts'
import type { Keys } from './keys.ts'

export async function readParked(
  redis: Redis,
  keys: Keys,
  queues: readonly string[],
  limit: number,
): Promise<Parked[]> {
  const found: Parked[] = []
  for (const queue of queues) {
    const rows = await redis.zrange(keys.parked(queue), 0, String(limit - 1), 'WITHSCORES')
    const tags = rows.filter((_, i) => i % 2 === 0)
    if (tags.length === 0) continue
    const records = await redis.hmget(keys.unacked, ...tags)
    const suffix = `,"",${JSON.stringify(queue)}]`
    records.forEach((record, i) => {
      if (record?.endsWith(suffix))
        found.push({ queue, dueAt: Number(rows[i * 2 + 1]), raw: record.slice(1, -suffix.length) })
    })
  }
  return found.sort((a, b) => a.dueAt - b.dueAt).slice(0, limit)
}
