// This project's runtime in the benchmark, as it is set without any tuning but for the log, which tells warnings only.

import { createLog, TaskApp, TaskWorker } from '@taskqueue/runtime'
import type { Contestant } from './contestant.ts'
import type { JobArgs, Load } from './load.ts'

const TASK = 'bench.job'

function appOf({ url, queue }: Load): TaskApp {
  return new TaskApp({ name: 'bench', brokerUrl: url, defaultQueue: queue, env: {} })
}

export const contestant: Contestant = {
  sender(load) {
    const app = appOf(load)
    const options = { ignoreResult: !load.results }
    return Promise.resolve({
      one: async (args) => {
        await app.send(TASK, args, options)
      },
      many: async (list) => {
        await Promise.all(list.map((args) => app.send(TASK, args, options)))
      },
      later: async (list, startAt) => {
        const eta = new Date(startAt).toISOString()
        await Promise.all(list.map((args) => app.send(TASK, args, { ...options, eta })))
      },
      close: () => app.close(),
    })
  },

  async work(load, job, concurrency) {
    const app = appOf(load)
    app.task(TASK, { ignoreResult: !load.results }, (_, ...args: JobArgs) => job.run(args))
    const worker = new TaskWorker({ app, log: createLog({ level: 'warn' }), queues: [load.queue], concurrency })
    await worker.start()
    return {
      close: async () => {
        await worker.stop(5)
        await app.close()
      },
    }
  },
}
