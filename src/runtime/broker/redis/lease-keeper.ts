// Starts the lease thread, and starts it again should it die. What it renews is in lease-slots.ts.
import { Worker } from 'node:worker_threads'
import type { LeaseThreadData, LeaseThreadMessage } from './lease-thread.ts'

/** What the keeper tells its owner. */
export interface LeaseKeeperHandlers {
  onLost(tag: string): void
  onTrouble(message: string): void
}

/** The thread runs from the sources as well as from dist. */
const THREAD = new URL(`./lease-thread.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url)

/** Milliseconds before a thread that died is started again; far below the length of a lease. */
const RESTART_MS = 500

export class LeaseKeeper {
  readonly #data: LeaseThreadData
  readonly #handlers: LeaseKeeperHandlers
  #thread: Worker | undefined
  #closed = false

  constructor(data: LeaseThreadData, handlers: LeaseKeeperHandlers) {
    this.#data = data
    this.#handlers = handlers
    this.#start()
  }

  #start(): void {
    if (this.#closed) return
    const thread = new Worker(THREAD, {
      name: 'taskqueue-leases',
      workerData: this.#data,
      // It holds one connection and a list of tags.
      resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 2 },
    })
    this.#thread = thread
    thread.unref()
    thread.on('message', (message: LeaseThreadMessage) => {
      if ('failed' in message) this.#handlers.onTrouble(`renewing leases failed: ${message.failed}`)
      else for (const tag of message.lost) this.#handlers.onLost(tag)
    })
    thread.on('error', (error) => this.#handlers.onTrouble(`the lease thread died: ${String(error)}`))
    thread.on('exit', () => {
      if (this.#thread === thread && !this.#closed) setTimeout(() => this.#start(), RESTART_MS).unref()
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#thread?.terminate()
  }
}
