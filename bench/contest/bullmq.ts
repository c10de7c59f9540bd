// BullMQ in the benchmark. Finished jobs are removed unless results are asked for; then they stay, as long as ours do.

import type { Contestant } from './contestant.ts'
import type { JobArgs, Load } from './load.ts'
import { installPeers, peer } from './peers.ts'

interface JobOptions {
  readonly removeOnComplete: boolean | { readonly age: number }
  readonly removeOnFail: boolean
  readonly delay?: number
}
interface Queue {
  add(name: string, data: JobArgs, options: JobOptions): Promise<unknown>
  addBulk(jobs: readonly { name: string; data: JobArgs; opts: JobOptions }[]): Promise<unknown>
  close(): Promise<void>
}
interface Worker {
  waitUntilReady(): Promise<unknown>
  close(force?: boolean): Promise<void>
  on(event: 'error', listener: (error: Error) => void): void
}
interface BullMq {
  Queue: new (name: string, options: object) => Queue
  Worker: new (name: string, run: (job: { data: JobArgs }) => Promise<unknown>, options: object) => Worker
}

const library = async (): Promise<BullMq> => peer(await installPeers(), 'bullmq') as BullMq

function connection(url: string): object {
  const { hostname: host, port } = new URL(url)
  return { host, port: Number(port), maxRetriesPerRequest: null }
}

function jobOptions({ results }: Load): JobOptions {
  return { removeOnComplete: results ? { age: 86_400 } : true, removeOnFail: true }
}

export const contestant: Contestant = {
  async sender(load) {
    const { Queue } = await library()
    const queue = new Queue(load.queue, { connection: connection(load.url) })
    const opts = jobOptions(load)
    const bulk = (list: readonly JobArgs[], more: object = {}): Promise<unknown> =>
      queue.addBulk(list.map((data) => ({ name: 'job', data, opts: { ...opts, ...more } })))
    return {
      one: async (args) => {
        await queue.add('job', args, opts)
      },
      many: async (list) => {
        await bulk(list)
      },
      later: async (list, startAt) => {
        await bulk(list, { delay: Math.max(0, startAt - Date.now()) })
      },
      close: () => queue.close(),
    }
  },

  async work(load, job, concurrency) {
    const { Worker } = await library()
    const run = async ({ data }: { data: JobArgs }): Promise<unknown> => job.run(data)
    const worker = new Worker(load.queue, run, { connection: connection(load.url), concurrency })
    worker.on('error', (error) => process.stderr.write(`bullmq: ${error.message}\n`))
    await worker.waitUntilReady()
    return { close: () => worker.close(true) }
  },
}
