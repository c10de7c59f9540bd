// BullMQ in a campaign, set so that a job which was lost with its worker comes back soon and as often as need be.

import { installPeers, peer } from '../../../../bench/contest/peers.ts'
import { peerSubject, type PeerLibrary } from '../peer.ts'
import type { Job, Subject } from '../subject.ts'

const QUEUE = 'history'
const CONCURRENCY = 4

interface JobOptions {
  readonly jobId: string
  readonly attempts: number
  readonly backoff: { readonly type: 'fixed'; readonly delay: number }
  readonly delay?: number
  readonly removeOnComplete: true
}
interface BullMq {
  Queue: new (
    name: string,
    options: object,
  ) => {
    add(name: string, data: Job, options: JobOptions): Promise<unknown>
    close(): Promise<void>
    on(event: 'error', listener: () => void): void
  }
  Worker: new (
    name: string,
    run: (job: { data: Job; attemptsMade: number }) => Promise<void>,
    options: object,
  ) => { close(): Promise<void>; on(event: 'error', listener: () => void): void }
}

const ATTEMPTS: Readonly<Record<string, number>> = { flaky: 3, doomed: 2 }

export const library: PeerLibrary = {
  producer: async (port) => {
    const { Queue } = peer(await installPeers(), 'bullmq') as BullMq
    // A send fails rather than waits for ever, as ours does.
    const connection = { host: '127.0.0.1', port, commandTimeout: 5000, enableOfflineQueue: false }
    const queue = new Queue(QUEUE, { connection })
    queue.on('error', () => undefined)
    return {
      send: async (job) => {
        await queue.add(job.kind, job, {
          jobId: job.id,
          attempts: ATTEMPTS[job.kind] ?? 1,
          backoff: { type: 'fixed', delay: 1000 },
          removeOnComplete: true,
          ...(job.countdown === undefined ? {} : { delay: job.countdown * 1000 }),
        })
      },
      close: () => queue.close(),
    }
  },

  work: async (port, run) => {
    const { Worker } = peer(await installPeers(), 'bullmq') as BullMq
    const worker = new Worker(QUEUE, ({ data, attemptsMade }) => run(data, attemptsMade + 1), {
      connection: { host: '127.0.0.1', port, maxRetriesPerRequest: null },
      concurrency: CONCURRENCY,
      lockDuration: 10_000,
      stalledInterval: 5_000,
      maxStalledCount: 1000,
    })
    worker.on('error', () => undefined)
    return () => worker.close()
  },
}

export const subject = (): Promise<Subject> =>
  Promise.resolve(
    peerSubject(
      {
        name: 'bullmq',
        label: 'BullMQ',
        lists: [`bull:${QUEUE}:wait`, `bull:${QUEUE}:active`],
        sortedSets: [`bull:${QUEUE}:delayed`, `bull:${QUEUE}:prioritized`],
        dead: (redis) => redis.zrange(`bull:${QUEUE}:failed`, '0', '-1'),
      },
      library,
    ),
  )
