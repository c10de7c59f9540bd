// bee-queue in a campaign, set so that a job which was lost with its worker comes back soon.

import { installPeers, peer } from '../../../../bench/contest/peers.ts'
import { peerSubject, type PeerLibrary } from '../peer.ts'
import type { Job, Subject } from '../subject.ts'

const QUEUE = 'history'
const CONCURRENCY = 4

interface BeeJob {
  readonly data: Job
  readonly options: { readonly retries?: number }
  setId(id: string): BeeJob
  retries(count: number): BeeJob
  backoff(strategy: 'fixed', millis: number): BeeJob
  delayUntil(at: number): BeeJob
  save(): Promise<unknown>
}
interface BeeQueue {
  createJob(data: Job): BeeJob
  process(concurrency: number, run: (job: BeeJob) => Promise<void>): void
  checkStalledJobs(interval: number): unknown
  ready(): Promise<unknown>
  close(timeoutMs?: number): Promise<void>
  on(event: 'error', listener: () => void): void
}
type BeeQueueClass = new (name: string, options: object) => BeeQueue

const RETRIES: Readonly<Record<string, number>> = { flaky: 2, doomed: 1 }

async function open(port: number, isWorker: boolean): Promise<BeeQueue> {
  const Bee = peer(await installPeers(), 'bee-queue') as BeeQueueClass
  const retryStrategy = (): number => 200
  const bee = new Bee(QUEUE, {
    redis: { host: '127.0.0.1', port, retry_strategy: retryStrategy },
    isWorker,
    getEvents: false,
    sendEvents: false,
    storeJobs: false,
    removeOnSuccess: true,
    activateDelayedJobs: isWorker,
    stallInterval: 5000,
    redisScanCount: 1000,
  })
  bee.on('error', () => undefined)
  await bee.ready()
  return bee
}

/** It queues what it sends while it is not connected: who sends gives up after a while, and its fate is not known. */
function within<T>(millis: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('no answer')), millis)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

export const library: PeerLibrary = {
  producer: async (port) => {
    const queue = await open(port, false)
    return {
      send: async (job) => {
        const made = queue
          .createJob(job)
          .setId(job.id)
          .retries(RETRIES[job.kind] ?? 0)
          .backoff('fixed', 1000)
        if (job.countdown !== undefined) made.delayUntil(Date.now() + job.countdown * 1000)
        await within(10_000, made.save())
      },
      close: () => queue.close(1000),
    }
  },

  work: async (port, run) => {
    const queue = await open(port, true)
    queue.checkStalledJobs(5000)
    queue.process(CONCURRENCY, ({ data, options }) => {
      const left = options.retries ?? 0
      return run(data, (RETRIES[data.kind] ?? 0) - left + 1)
    })
    return () => queue.close(5000)
  },
}

export const subject = (): Promise<Subject> =>
  Promise.resolve(
    peerSubject(
      {
        name: 'beequeue',
        label: 'bee-queue',
        lists: [`bq:${QUEUE}:waiting`, `bq:${QUEUE}:active`],
        sortedSets: [`bq:${QUEUE}:delayed`],
        dead: (redis) => redis.smembers(`bq:${QUEUE}:failed`),
      },
      library,
    ),
  )
