// What a library costs beside its speed: a worker with nothing to do, a worker after a million jobs, a million jobs that wait for their time.
// One after another, each once: these take minutes.

import { say } from '../operator/figures.ts'
import { memoryKiB } from '../proc.ts'
import { entrants, play, QUEUE, work, type Entrant } from './entrants.ts'
import { idle, type Idle } from './measure.ts'
import type { Plan } from './plan.ts'
import { remaining, whenRemaining } from './remaining.ts'
import type { Ground } from './run.ts'
import type { Load } from './load.ts'

const CONCURRENCY = 10
/** Until the jobs may begin, beside the time that sending them takes. */
const MARGIN_MS = 15_000
/** So many Celery's workers would hold in memory all at once: not done to them. */
const CELERY_MOST = 20_000

export interface Parked {
  readonly entrant: string
  readonly count: number
  readonly sendSeconds: number
  /** Of a worker while they wait. */
  readonly workerMiB: number
  readonly redisMiB: number
  /** From when they might begin until the last was done. */
  readonly drainSeconds: number
}

export interface Endurance {
  readonly idle: readonly (Idle & { readonly entrant: string })[]
  /** MiB of a worker's RSS at its first thousand jobs and after all. */
  readonly memory: readonly {
    readonly entrant: string
    readonly jobs: number
    readonly first: number
    readonly after: number
  }[]
  readonly parked: readonly Parked[]
}

export async function endure(ground: Ground, plan: Plan): Promise<Endurance> {
  const load: Load = {
    url: `redis://127.0.0.1:${ground.port}/0`,
    queue: QUEUE,
    work: 'nothing',
    results: false,
    bytes: 100,
    hashRounds: ground.hashRounds,
  }
  const node = entrants.filter(({ share }) => share === 1)
  const withCelery = entrants.filter(({ name }) => name !== 'celery-threads')
  return {
    idle:
      plan.idleSeconds > 0 ? await each(withCelery, 'idle', (one) => idleOf(ground, one, load, plan.idleSeconds)) : [],
    memory:
      plan.memoryJobs > 0 ? await each(node, 'memory', (one) => memoryOf(ground, one, load, plan.memoryJobs)) : [],
    parked:
      plan.parkedJobs > 0
        ? await each(withCelery, 'parked', (one) => parkedOf(ground, one, load, plan.parkedJobs))
        : [],
  }
}

async function each<T>(
  list: readonly Entrant[],
  what: string,
  measure: (entrant: Entrant) => Promise<T>,
): Promise<T[]> {
  const all: T[] = []
  for (const entrant of list) {
    const began = performance.now()
    all.push(await measure(entrant))
    say(`    ${what} ${entrant.label} (${((performance.now() - began) / 1000).toFixed(0)} s)`)
  }
  return all
}

async function redisPid({ redis }: Ground): Promise<number> {
  return Number(/process_id:(\d+)/.exec(await redis.info('server'))?.[1])
}

async function idleOf(
  ground: Ground,
  entrant: Entrant,
  load: Load,
  seconds: number,
): Promise<Idle & { entrant: string }> {
  const options = { concurrency: CONCURRENCY, seconds, redisPid: await redisPid(ground) }
  return { entrant: entrant.name, ...(await idle(ground, entrant, load, options)) }
}

async function memoryOf(
  { redis }: Ground,
  entrant: Entrant,
  load: Load,
  jobs: number,
): Promise<{ entrant: string; jobs: number; first: number; after: number }> {
  await redis.flushall()
  await play(entrant, load, { role: 'send', send: 'many', count: jobs })
  const worker = await work(entrant, load, CONCURRENCY)
  try {
    await whenRemaining(redis, entrant, jobs - 1000)
    const first = memoryKiB(worker.pid, 'VmRSS') / 1024
    await whenRemaining(redis, entrant, 0)
    return { entrant: entrant.name, jobs, first, after: memoryKiB(worker.pid, 'VmRSS') / 1024 }
  } finally {
    await worker.stop()
  }
}

async function parkedOf(ground: Ground, entrant: Entrant, load: Load, jobs: number): Promise<Parked> {
  const { redis } = ground
  await redis.flushall()
  const count = entrant.share === 1 ? jobs : Math.min(jobs, CELERY_MOST)
  // How long sending takes is known only then: they are due a margin after a first guess, which a small lot gives.
  const trial = Math.min(count, 20_000)
  const { seconds } = await play(entrant, load, { role: 'later', startAt: Date.now() + 3_600_000, count: trial })
  await redis.flushall()
  const startAt = Date.now() + (seconds / trial) * count * 1500 + MARGIN_MS
  const worker = await work(entrant, load, CONCURRENCY)
  try {
    const sent = await play(entrant, load, { role: 'later', startAt, count })
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, startAt - Date.now() - 1000)))
    const early = count - (await remaining(redis, entrant))
    if (early > 1) throw new Error(`${entrant.name}: ${early} jobs began before their time, or sending took too long`)
    const workerMiB = memoryKiB(worker.pid, 'VmRSS') / 1024
    const redisMiB = memoryKiB(await redisPid(ground), 'VmRSS') / 1024
    await whenRemaining(redis, entrant, 0)
    const drainSeconds = (Date.now() - startAt) / 1000
    return { entrant: entrant.name, count, sendSeconds: sent.seconds, workerMiB, redisMiB, drainSeconds }
  } finally {
    await worker.stop()
  }
}
