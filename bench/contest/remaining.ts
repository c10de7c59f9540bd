// How many jobs of an entrant are not done yet, asked of Redis itself: the same stopwatch for all, whatever they say of themselves.

import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Entrant } from './entrants.ts'

const EVERY_MS = 5

export async function remaining(redis: Redis, { lists, sortedSets, hashes }: Entrant): Promise<number> {
  const pipeline = redis.pipeline()
  for (const key of lists) pipeline.llen(key)
  for (const key of sortedSets) pipeline.zcard(key)
  for (const key of hashes) pipeline.hlen(key)
  const replies = (await pipeline.exec()) ?? []
  return replies.reduce((sum, [, count]) => sum + Number(count), 0)
}

/**
 * Waits until no more than `count` remain.
 * @returns when that was seen, in milliseconds of this process
 * @throws Error when nothing moves for a minute
 */
export async function whenRemaining(redis: Redis, entrant: Entrant, count: number): Promise<number> {
  let [last, moved] = [Infinity, performance.now()]
  for (;;) {
    const left = await remaining(redis, entrant)
    const now = performance.now()
    if (left <= count) return now
    if (left !== last) [last, moved] = [left, now]
    if (now - moved > 60_000) throw new Error(`${entrant.name}: nothing moves, ${left} jobs remain`)
    await delay(EVERY_MS)
  }
}
