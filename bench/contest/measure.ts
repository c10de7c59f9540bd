// The measurements of one round of one entrant, on a Redis that is emptied first. What is made of them is in table.ts.

import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { cpuSeconds, memoryKiB } from '../proc.ts'
import { play, work, type Entrant } from './entrants.ts'
import type { Load, Send } from './load.ts'
import { remaining, whenRemaining } from './remaining.ts'

/** Where the round takes place. */
export interface Place {
  readonly redis: Redis
}

export interface Execution {
  readonly count: number
  readonly warmUp: number
  readonly concurrency: number
  readonly processes: number
}

/** Jobs a second. All jobs lie there before; the clock runs from when the warm-up is done until nothing remains. */
export async function executed(
  { redis }: Place,
  entrant: Entrant,
  load: { readonly send: Load; readonly work: Load },
  { count, warmUp, concurrency, processes }: Execution,
): Promise<number> {
  await redis.flushall()
  await play(entrant, load.send, { role: 'send', send: 'many', count: count + warmUp })
  const workers = await Promise.all(Array.from({ length: processes }, () => work(entrant, load.work, concurrency)))
  try {
    const from = await whenRemaining(redis, entrant, count)
    const left = await remaining(redis, entrant)
    const to = await whenRemaining(redis, entrant, 0)
    return left / ((to - from) / 1000)
  } finally {
    await Promise.all(workers.map((worker) => worker.stop()))
  }
}

/** Jobs a second that a broker takes from one process. */
export async function sent({ redis }: Place, entrant: Entrant, load: Load, send: Send, count: number): Promise<number> {
  await redis.flushall()
  const { seconds } = await play(entrant, load, { role: 'send', send, count })
  return count / seconds
}

/** How late jobs began that were sent at an even pace, in microseconds. */
export async function latencies(
  { redis }: Place,
  entrant: Entrant,
  load: Load,
  { perSecond, count, concurrency }: { perSecond: number; count: number; concurrency: number },
): Promise<readonly number[]> {
  await redis.flushall()
  const worker = await work(entrant, load, concurrency)
  try {
    await play(entrant, load, { role: 'pace', perSecond, count })
    await whenRemaining(redis, entrant, 0)
  } catch (error) {
    await worker.stop()
    throw error
  }
  return worker.stop()
}

export interface Idle {
  readonly commandsPerSecond: number
  readonly cpuPercent: number
  readonly redisCpuPercent: number
  readonly rssMiB: number
}

/** What a worker with nothing to do costs. */
export async function idle(
  { redis }: Place,
  entrant: Entrant,
  load: Load,
  { concurrency, seconds, redisPid }: { concurrency: number; seconds: number; redisPid: number },
): Promise<Idle> {
  await redis.flushall()
  const worker = await work(entrant, load, concurrency)
  try {
    await delay(5_000)
    const [commands, cpu, redisCpu] = [await commandCount(redis), cpuSeconds(worker.pid), cpuSeconds(redisPid)]
    await delay(seconds * 1000)
    return {
      // Our own two questions are none of it.
      commandsPerSecond: ((await commandCount(redis)) - commands - 1) / seconds,
      cpuPercent: ((cpuSeconds(worker.pid) - cpu) / seconds) * 100,
      redisCpuPercent: ((cpuSeconds(redisPid) - redisCpu) / seconds) * 100,
      rssMiB: memoryKiB(worker.pid, 'VmRSS') / 1024,
    }
  } finally {
    await worker.stop()
  }
}

async function commandCount(redis: Redis): Promise<number> {
  return Number(/total_commands_processed:(\d+)/.exec(await redis.info('stats'))?.[1])
}
