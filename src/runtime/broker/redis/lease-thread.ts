// The thread that renews leases, with a connection of its own: a blocked event loop can't starve it. It reports the tags whose
// record is gone, and why renewing fails.
import { parentPort, workerData } from 'node:worker_threads'
import { RedisConnection } from './connection.ts'
import { BY, loadRenewal, renewLeases, type LeaseRenewalData } from './lease-renewal.ts'

/** What the main thread passes on. */
export interface LeaseThreadData extends LeaseRenewalData {
  readonly url: string
  readonly keyPrefix: string
  readonly renewMs: number
}

/** What the thread says. */
export type LeaseThreadMessage = { readonly lost: readonly string[] } | { readonly failed: string }

async function renew(data: LeaseThreadData, connection: RedisConnection): Promise<void> {
  const lost = await renewLeases(data, connection.redis, BY.thread)
  if (lost.length > 0) post({ lost })
}

function post(message: LeaseThreadMessage): void {
  parentPort?.postMessage(message)
}

/** What the main thread says. */
export interface LeaseOrder {
  /** The leases' keys, by the number of their queue. */
  readonly leases: readonly string[]
}

function start(given: LeaseThreadData): void {
  let data = given
  parentPort?.on('message', ({ leases }: LeaseOrder) => {
    data = { ...data, leases }
  })
  let renewing = false
  const connection = new RedisConnection({
    url: data.url,
    keyPrefix: data.keyPrefix,
    name: 'taskqueue:leases',
    onConnect: async (redis) => {
      await loadRenewal(redis)
      // At once: others may recover what we hold as soon as they are back themselves.
      await renew(data, connection)
    },
    onTrouble: (failed) => post({ failed }),
  })
  connection.open()
  setInterval(() => {
    if (renewing || !connection.ready) return
    renewing = true
    renew(data, connection)
      .catch((error: unknown) => post({ failed: connection.coded(error).message }))
      .finally(() => {
        renewing = false
      })
  }, data.renewMs)
}

start(workerData as LeaseThreadData)
