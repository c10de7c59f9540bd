// bee-queue in the benchmark, by its own advice for throughput: no events, no stored jobs, removal on success unless results are asked for.

import type { Contestant } from './contestant.ts'
import type { JobArgs, Load } from './load.ts'
import { installPeers, peer } from './peers.ts'

interface BeeJob {
  readonly data: JobArgs
  delayUntil(at: number): BeeJob
  save(): Promise<unknown>
}
interface BeeQueue {
  createJob(data: JobArgs): BeeJob
  saveAll(jobs: readonly BeeJob[]): Promise<Map<BeeJob, Error>>
  process(concurrency: number, run: (job: BeeJob) => Promise<unknown>): void
  ready(): Promise<unknown>
  close(timeoutMs?: number): Promise<void>
  on(event: 'error', listener: (error: Error) => void): void
}
type BeeQueueClass = new (name: string, options: object) => BeeQueue

async function open({ url, queue, results }: Load, isWorker: boolean): Promise<BeeQueue> {
  const Bee = peer(await installPeers(), 'bee-queue') as BeeQueueClass
  const { hostname: host, port } = new URL(url)
  const bee = new Bee(queue, {
    redis: { host, port: Number(port) },
    isWorker,
    getEvents: false,
    sendEvents: false,
    storeJobs: false,
    removeOnSuccess: !results,
    removeOnFailure: true,
    activateDelayedJobs: isWorker,
  })
  bee.on('error', (error) => process.stderr.write(`bee-queue: ${error.message}\n`))
  await bee.ready()
  return bee
}

async function saveAll(queue: BeeQueue, jobs: readonly BeeJob[]): Promise<void> {
  const failed = await queue.saveAll(jobs)
  for (const error of failed.values()) throw error
}

export const contestant: Contestant = {
  async sender(load) {
    const queue = await open(load, false)
    return {
      one: async (args) => {
        await queue.createJob(args).save()
      },
      many: (list) =>
        saveAll(
          queue,
          list.map((args) => queue.createJob(args)),
        ),
      later: (list, startAt) =>
        saveAll(
          queue,
          list.map((args) => queue.createJob(args).delayUntil(startAt)),
        ),
      close: () => queue.close(1000),
    }
  },

  async work(load, job, concurrency) {
    const queue = await open(load, true)
    queue.process(concurrency, async ({ data }) => job.run(data))
    return { close: () => queue.close(1000) }
  },
}
