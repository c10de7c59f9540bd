// The thread that renews leases, with a connection of its own: a blocked event loop can't starve it. It reports the tags whose
// record is gone, and why renewing fails.
import { writeSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { sharedNow } from '../../clock.ts'
import { RedisConnection } from './connection.ts'
import { BY, isStuck, loadRenewal, renewLeases, type LeaseRenewalData } from './lease-renewal.ts'

/** What the main thread passes on. */
export interface LeaseThreadData extends LeaseRenewalData {
  readonly url: string
  readonly keyPrefix: string
  readonly renewMs: number
  /** Of the one line that it may have to write. */
  readonly logFields: Readonly<Record<string, unknown>>
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

/** How long the main thread must be seen stuck before the process is ended. */
const CONFIRM_MS = 2000

/** As the main thread would have done at the hard limit, had it been able to: what else it holds is recovered when its leases end. */
function endProcess(logFields: Readonly<Record<string, unknown>>): void {
  const msg = 'a task is over its hard time limit and holds the event loop: the worker is ended from its lease thread'
  const line = { level: 'fatal', time: new Date().toISOString(), ...logFields, event: 'hard-time-limit', msg }
  // Not by console: a thread's goes through the main one.
  writeSync(1, `${JSON.stringify(line)}\n`)
  process.kill(process.pid, 'SIGKILL')
}

function start(given: LeaseThreadData): void {
  let data = given
  parentPort?.on('message', ({ leases }: LeaseOrder) => {
    data = { ...data, leases }
  })
  let renewing = false
  let stuckSince: number | undefined
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
    // Twice in a row: a process that was stopped and goes on has a moment to show that it lives.
    if (!isStuck(data)) stuckSince = undefined
    else if (stuckSince === undefined) stuckSince = sharedNow()
    else if (sharedNow() - stuckSince > CONFIRM_MS) endProcess(data.logFields)
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
