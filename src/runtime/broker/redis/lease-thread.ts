// The thread that renews leases, with a connection of its own. It knows nothing of tasks: it renews what the shared slots
// hold and reports the tags whose record is gone.
import { parentPort, workerData } from 'node:worker_threads'
import { RedisConnection } from './connection.ts'
import { readSlots } from './lease-slots.ts'
import { loadScripts, runScript } from './scripts.ts'

/** What the main thread passes on. */
export interface LeaseThreadData {
  readonly url: string
  readonly process: string
  readonly memory: SharedArrayBuffer
  readonly unacked: string
  readonly unackedIndex: string
  readonly leases: readonly string[]
  readonly leaseSeconds: number
  readonly renewMs: number
}

/** What the thread says. */
export type LeaseThreadMessage = { readonly lost: readonly string[] } | { readonly failed: string }

/** Tags renewed in one call: bounds the time the server spends on it. */
const RENEW_BATCH = 500

async function renew(data: LeaseThreadData, connection: RedisConnection): Promise<void> {
  const held = readSlots(data.memory, data.process)
  for (let at = 0; at < held.length; at += RENEW_BATCH) {
    const batch = held.slice(at, at + RENEW_BATCH)
    const lost = await runScript(connection.redis, {
      name: 'renew',
      keys: [data.unacked, data.unackedIndex, ...data.leases],
      args: [data.leaseSeconds, ...batch.flatMap(({ queue, tag }) => [queue + 3, tag])],
    })
    if (Array.isArray(lost) && lost.length > 0) post({ lost: lost as string[] })
  }
}

function post(message: LeaseThreadMessage): void {
  parentPort?.postMessage(message)
}

function start(data: LeaseThreadData): void {
  let renewing = false
  const connection = new RedisConnection({
    url: data.url,
    name: 'taskqueue:leases',
    onConnect: async (redis) => {
      await loadScripts(redis, ['renew'])
      // At once: others may recover what we hold as soon as they are back themselves.
      await renew(data, connection)
    },
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
