// Questions to all who listen on a fanout exchange, and their answers out of an inbox of our own. Bounded in time and size, whoever
// answers. What is asked is not known here.
import type { Redis } from 'ioredis'
import { pause, type Clock } from '../../clock.ts'
import { SEPARATOR } from '../../protocol/queue-key.ts'
import type { ReplyQueue, Replies } from '../transport.ts'
import type { Keys } from './keys.ts'
import { runScript } from './scripts.ts'

/** Bytes of one answer: a worker's tasks with their arguments may be more than this process has. */
const MOST_OF_ONE = 512 * 1024
/** Bytes of all answers. */
const MOST_OF_ALL = 8 * 1024 * 1024
/** Answers that are taken out at once. */
const BATCH = 100
/** Between two looks into the inbox, in milliseconds: often at first, since workers answer within a few. */
const LOOK_MS = { first: 5, most: 200 } as const

export interface Request {
  readonly exchange: string
  readonly questions: readonly string[]
  readonly replies: ReplyQueue
  /** Whether Redis tells of everybody who hears a question: a node of a cluster knows its own listeners only. */
  readonly countsListeners: boolean
}

/** @throws whatever Redis answers */
export async function request(redis: Redis, keys: Keys, asked: Request, clock: Clock): Promise<Replies> {
  const { exchange, routingKey } = asked.replies
  const queue = `${routingKey}.${exchange}`
  const list = keys.list(queue, 0)
  const member = [routingKey, '', queue].join(SEPARATOR)
  await redis.sadd(keys.binding(exchange), member)
  try {
    const channel = keys.fanout(asked.exchange, '')
    const heard = await Promise.all(asked.questions.map((raw) => redis.publish(channel, raw)))
    const listeners = asked.countsListeners ? heard.reduce((sum, n) => sum + n, 0) : Infinity
    return await collect(redis, list, Math.min(listeners, asked.replies.limit ?? Infinity), asked.replies, clock)
  } finally {
    await Promise.all([redis.srem(keys.binding(exchange), member), redis.del(list)])
  }
}

async function collect(
  redis: Redis,
  list: string,
  expected: number,
  { timeoutMs }: ReplyQueue,
  clock: Clock,
): Promise<Replies> {
  const raws: string[] = []
  let [bytes, answers] = [0, 0]
  const deadline = clock.monotonic() + timeoutMs
  for (let wait: number = LOOK_MS.first; answers < expected;) {
    const args = [BATCH, MOST_OF_ONE, MOST_OF_ALL - bytes]
    const batch = (await runScript(redis, { name: 'take-replies', keys: [list], args })) as string[]
    answers += batch.length
    const whole = batch.filter((raw) => raw !== '')
    raws.push(...whole)
    bytes += whole.reduce((sum, raw) => sum + Buffer.byteLength(raw), 0)
    if (bytes >= MOST_OF_ALL) return { raws, complete: answers >= expected }
    if (answers >= expected || clock.monotonic() >= deadline) break
    if (batch.length > 0) continue
    await pause(clock, Math.min(wait, Math.max(1, deadline - clock.monotonic())))
    wait = Math.min(wait * 1.5, LOOK_MS.most)
  }
  return { raws, complete: true }
}
