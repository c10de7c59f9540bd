// The connection that listens: fanout exchanges, wake-ups, results. Subscriptions survive a reconnect.
import { RedisConnection, type BrokerAddress } from './connection.ts'

type Listener = (channel: string, payload: string) => void

/** How long a first subscription waits for the connection. */
const READY_MS = 5000

export class RedisSubscriber {
  readonly #connection: RedisConnection
  readonly #channels = new Map<string, Set<Listener>>()
  readonly #patterns = new Map<string, Set<Listener>>()

  constructor(broker: BrokerAddress) {
    this.#connection = new RedisConnection({
      ...broker,
      name: 'taskqueue:listen',
      onConnect: async (redis) => {
        if (this.#channels.size > 0) await redis.subscribe(...this.#channels.keys())
        if (this.#patterns.size > 0) await redis.psubscribe(...this.#patterns.keys())
      },
    })
    const { redis } = this.#connection
    redis.on('message', (channel: string, payload: string) => deliver(this.#channels.get(channel), channel, payload))
    redis.on('pmessage', (pattern: string, channel: string, payload: string) =>
      deliver(this.#patterns.get(pattern), channel, payload),
    )
  }

  /** Starts connecting without waiting for it. */
  open(): void {
    this.#connection.open()
  }

  /** Listens to one channel until the returned function is called. Resolves when the broker has the subscription. */
  async subscribe(channel: string, listener: Listener): Promise<() => Promise<void>> {
    return this.#add(this.#channels, channel, listener, 'subscribe')
  }

  /** The same for a pattern. */
  async psubscribe(pattern: string, listener: Listener): Promise<() => Promise<void>> {
    return this.#add(this.#patterns, pattern, listener, 'psubscribe')
  }

  close(): void {
    this.#connection.close()
  }

  async #add(
    table: Map<string, Set<Listener>>,
    name: string,
    listener: Listener,
    command: 'subscribe' | 'psubscribe',
  ): Promise<() => Promise<void>> {
    const { redis } = this.#connection
    let listeners = table.get(name)
    if (!listeners) table.set(name, (listeners = new Set()))
    listeners.add(listener)
    const remove = async (): Promise<void> => {
      listeners.delete(listener)
      if (listeners.size > 0 || table.get(name) !== listeners) return
      table.delete(name)
      if (!this.#connection.ready) return
      await (command === 'subscribe' ? redis.unsubscribe(name) : redis.punsubscribe(name)).catch(() => undefined)
    }
    try {
      await this.#connection.whenReady(READY_MS)
      await redis[command](name)
    } catch (error) {
      await remove()
      throw this.#connection.coded(error)
    }
    return remove
  }
}

function deliver(listeners: ReadonlySet<Listener> | undefined, channel: string, payload: string): void {
  for (const listener of [...(listeners ?? [])]) listener(channel, payload)
}
