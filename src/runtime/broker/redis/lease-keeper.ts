// Sees to it that leases are renewed: starts the lease thread, starts it again should it die, and renews over the main connection
// while the thread can't. What is renewed is in lease-slots.ts.
import { Worker } from 'node:worker_threads'
import type { Clock, Timer } from '../../clock.ts'
import type { RedisConnection } from './connection.ts'
import { BY, noteAlive, renewalAgeMs, renewLeases, startRenewalAge } from './lease-renewal.ts'
import type { LeaseOrder, LeaseThreadData, LeaseThreadMessage } from './lease-thread.ts'

/** What the keeper tells its owner. */
export interface LeaseKeeperHandlers {
  onLost(tag: string): void
  onTrouble(message: string): void
}

/** The thread runs from the sources as well as from dist. */
const THREAD = new URL(`./lease-thread.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url)

/** Milliseconds before a thread that died is started again; far below the length of a lease. */
const RESTART_MS = 500
/** How often it is looked at whether the thread does its work. Milliseconds. */
const WATCH_MS = 1000

export class LeaseKeeper {
  #data: LeaseThreadData
  readonly #handlers: LeaseKeeperHandlers
  readonly #main: RedisConnection
  readonly #clock: Clock
  #thread: Worker | undefined
  #watch: Timer | undefined
  #standingIn = false
  #closed = false

  /** @param main the main thread's connection */
  constructor(data: LeaseThreadData, main: RedisConnection, clock: Clock, handlers: LeaseKeeperHandlers) {
    this.#data = data
    this.#main = main
    this.#clock = clock
    this.#handlers = handlers
    startRenewalAge(data)
    this.#start()
    this.#look()
  }

  /** Whether nobody has renewed leases for so long that nothing new should be taken. */
  get overdue(): boolean {
    return Math.min(this.#ageMs(BY.thread), this.#ageMs(BY.main)) > this.#overdueMs
  }

  /** Half of a lease: the other half is for standing in. */
  get #overdueMs(): number {
    return (this.#data.leaseSeconds * 1000) / 2
  }

  #ageMs(by: (typeof BY)[keyof typeof BY]): number {
    return renewalAgeMs(this.#data, by)
  }

  /** Queues are taken from that were not before: their leases are renewed as well. */
  setLeases(leases: readonly string[]): void {
    this.#data = { ...this.#data, leases }
    const order: LeaseOrder = { leases }
    this.#thread?.postMessage(order)
  }

  #look(): void {
    if (this.#closed) return
    noteAlive(this.#data)
    this.#watch = this.#clock.after(WATCH_MS, () => this.#look(), { background: true })
    const before = this.#standingIn
    this.#standingIn = this.#ageMs(BY.thread) > this.#overdueMs
    // While the main connection is away too nobody's leases can be renewed, and the first renewal after it tells what was lost.
    if (!this.#standingIn || !this.#main.ready) return
    if (!before) this.#handlers.onTrouble('the lease thread renews nothing: the main connection stands in for it')
    // What would be late at the next look is renewed at this one.
    if (this.#ageMs(BY.main) < this.#data.renewMs - WATCH_MS) return
    renewLeases(this.#data, this.#main.redis, BY.main).then(
      (lost) => {
        for (const tag of lost) this.#handlers.onLost(tag)
      },
      (error: unknown) => this.#handlers.onTrouble(`renewing leases fails: ${this.#main.coded(error).message}`),
    )
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
      if ('failed' in message) this.#handlers.onTrouble(`renewing leases fails: ${message.failed}`)
      else for (const tag of message.lost) this.#handlers.onLost(tag)
    })
    thread.on('error', (error) => this.#handlers.onTrouble(`the lease thread died: ${String(error)}`))
    thread.on('exit', () => {
      if (this.#thread === thread && !this.#closed) setTimeout(() => this.#start(), RESTART_MS).unref()
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#watch?.cancel()
    await this.#thread?.terminate()
  }
}
