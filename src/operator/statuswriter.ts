// Writes a TaskQueue's status by server-side apply, and only what differs from what is there. Not a decision about what it says:
// that is status.ts.

import type { Clock } from './clock.ts'
import { isNotFound, undeclaredFields } from './errors.ts'
import type { Cache } from './kube/cache.ts'
import type { KubeClient } from './kube/client.ts'
import { taskQueues } from './kube/resources.ts'
import type { KubeObject } from './objects.ts'
import type { PoolScale } from './scaling.ts'
import type { TaskQueue, TaskQueueStatus } from './taskqueue.ts'

const STATUS_MANAGER = 'taskqueue-operator-status'
/** After so long a field that the CRD lacked is tried again: it may have come. Milliseconds. */
const LACKING_MS = 300_000

export class StatusWriter {
  readonly #client: KubeClient
  readonly #taskQueues: Cache<TaskQueue>
  readonly #clock: Clock
  /** Parts of status that the CRD lacks, being of an older release, and since when that is known. */
  readonly #lacking = new Map<string, number>()

  constructor(client: KubeClient, cache: Cache<TaskQueue>, clock: Clock) {
    this.#client = client
    this.#taskQueues = cache
    this.#clock = clock
  }

  /**
   * Resolves with whether anything was written: not when it says so already, nor to a TaskQueue that is gone. A part that the CRD lacks is left
   * out, since the server refuses all of a status for it.
   */
  async write(queue: TaskQueue, whole: TaskQueueStatus): Promise<boolean> {
    const status = this.#declared(whole)
    if (sameJson(status, queue.status)) return false
    const { namespace = '', name } = queue.metadata
    const { apiVersion, kind } = taskQueues
    try {
      const body = { apiVersion, kind, metadata: { namespace, name }, status } as KubeObject
      this.#taskQueues.upsert(await this.#client.apply<TaskQueue>(body, STATUS_MANAGER, 'status'))
      return true
    } catch (error) {
      if (isNotFound(error)) return false
      if (!this.#learn(error)) throw error
      return this.write(queue, whole)
    }
  }

  /** Notes what the CRD lacks. @returns whether that is news, so that another attempt has a chance */
  #learn(error: unknown): boolean {
    const parts = undeclaredFields(error).flatMap((path) => /^\.status\.([A-Za-z]+)/.exec(path)?.[1] ?? [])
    const news = parts.filter((part) => !this.#lacking.has(part))
    for (const part of news) this.#lacking.set(part, this.#clock.monotonic())
    return news.length > 0
  }

  #declared(status: TaskQueueStatus): TaskQueueStatus {
    if (this.#lacking.size === 0) return status
    const now = this.#clock.monotonic()
    for (const [part, at] of this.#lacking) if (now - at > LACKING_MS) this.#lacking.delete(part)
    const entries = Object.entries(status).filter(([part]) => !this.#lacking.has(part))
    return Object.fromEntries(entries)
  }

  /** Writes down the numbers to come back to after suspend before they are made 0: an operator that ends between the two loses none. */
  async rememberReplicas(queue: TaskQueue, scales: ReadonlyMap<string, PoolScale>): Promise<void> {
    const known = queue.status?.pools ?? []
    const lost = [...scales].some(
      ([name, { before }]) =>
        before !== undefined && known.find((pool) => pool.name === name)?.suspendedReplicas !== before,
    )
    if (!lost) return
    const pools = [...scales].map(([name, { before }]) => ({
      ...(known.find((pool) => pool.name === name) ?? { name, ready: 0, wanted: 0 }),
      ...(before === undefined ? {} : { suspendedReplicas: before }),
    }))
    await this.write(queue, { ...queue.status, pools })
  }
}

/** Equal as JSON, whatever the order of keys. */
function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  const [left, right] = [Object.entries(a), Object.entries(b)]
  return (
    left.length === right.length &&
    left.every(([key, value]) => key in b && sameJson(value, (b as Record<string, unknown>)[key]))
  )
}
