// Redis as a Transport: owns the connections and puts consumer, publisher and subscriber together.
import { systemClock, type Clock } from '../../clock.ts'
import type {
  UniqueHold,
  BroadcastHandler,
  Capabilities,
  ConsumeOptions,
  Consumer,
  DeliveryToken,
  Depth,
  Parked,
  Publication,
  Replies,
  ReplyQueue,
  Transport,
  TransportState,
} from '../transport.ts'
import { RedisConnection, type ConnectionTimeouts, type BrokerAddress } from './connection.ts'
import { LEASE_SECONDS, RedisConsumer } from './consumer.ts'
import { readDepth } from './depth.ts'
import { boundQueues, redisKeys, type Keys } from './keys.ts'
import { LeaseKeeper } from './lease-keeper.ts'
import { RENEWED_AT_BYTES } from './lease-renewal.ts'
import { LeaseSlots } from './lease-slots.ts'
import { readParked } from './parked.ts'
import { RedisPublisher } from './publisher.ts'
import { QueueSet } from './queue-set.ts'
import type { DeadLetterKeeping } from './sweeps.ts'
import { request } from './request.ts'
import { RedisSubscriber } from './subscriber.ts'
import { newProcessTag } from './tag.ts'
import { effectivePrefix } from './connection-options.ts'
import { parseBrokerUrl } from './url.ts'
import { WakeUps } from './wake-ups.ts'

/** How to reach Redis. */
export interface RedisTransportOptions {
  readonly url: string
  /** Goes before every key and channel, as kombu's global_keyprefix. */
  readonly keyPrefix?: string
  /** What Python workers on these queues have configured; leases are renewed three times within it. */
  readonly visibilityTimeoutSeconds?: number
  readonly timeouts?: ConnectionTimeouts
  /** How many dead letters are kept and for how long; 10,000 and 30 days. */
  readonly dead?: DeadLetterKeeping
  readonly clock?: Clock
  readonly random?: () => number
  /** Fields of the line that the lease thread writes when it ends a process that is stuck. */
  readonly logFields?: Readonly<Record<string, unknown>>
  /** What went wrong and is being dealt with, for the log. */
  readonly onTrouble?: (message: string) => void
}

const CONNECT_MS = 5000
const DEAD_KEPT = { most: 10_000, seconds: 2_592_000 } as const
/** Room for a pool that is made to grow by remote control. */
const MAX_CONCURRENCY = 1000

export class RedisTransport implements Transport {
  readonly capabilities: Capabilities = { atomicSettle: true, extend: true, park: true, priorityOrder: 'lowFirst' }
  readonly #options: RedisTransportOptions
  readonly #broker: BrokerAddress
  readonly #clock: Clock
  readonly #keys: Keys
  readonly #countsListeners: boolean
  readonly #connection: RedisConnection
  readonly #publisher: RedisPublisher
  readonly #subscriber: RedisSubscriber
  #consumer: RedisConsumer | undefined
  #leases: LeaseKeeper | undefined
  #wakeUps: WakeUps | undefined
  readonly #told = new Set<string>()

  /** @throws BrokerError `BrokerUrlInvalid` */
  constructor(options: RedisTransportOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    const target = parseBrokerUrl(options.url)
    const keyPrefix = effectivePrefix(target, options.keyPrefix ?? '')
    this.#keys = redisKeys(keyPrefix, target.db)
    this.#countsListeners = target.kind !== 'cluster'
    this.#broker = { url: options.url, keyPrefix, ...(options.timeouts ? { timeouts: options.timeouts } : {}) }
    this.#connection = new RedisConnection({
      ...this.#broker,
      name: 'taskqueue',
      ...(options.random ? { random: options.random } : {}),
      ...(options.onTrouble ? { onTrouble: options.onTrouble } : {}),
      onConnect: async (redis) => {
        await this.#consumer?.prepare(redis)
      },
    })
    this.#publisher = new RedisPublisher(this.#connection, this.#keys)
    this.#subscriber = new RedisSubscriber(this.#broker)
  }

  async connect(): Promise<void> {
    await this.#connection.whenReady(this.#options.timeouts?.connectMs ?? CONNECT_MS)
  }

  state(): TransportState {
    return {
      connected: this.#connection.ready,
      error: this.#connection.error?.message,
      lastRoundTrip: this.#consumer?.lastRoundTrip,
      trouble: this.#consumer?.trouble,
    }
  }

  /** Calls back with each change between connected and not. */
  onChange(listener: (connected: boolean) => void): () => void {
    return this.#connection.onChange(listener)
  }

  async declare(queues: readonly string[]): Promise<void> {
    if (queues.length > 0) await this.#command((redis) => redis.sadd(this.#keys.queues, ...queues))
  }

  async consume(options: ConsumeOptions): Promise<Consumer> {
    if (this.#consumer) throw new Error('this transport consumes already')
    const queues = new QueueSet(options.queues)
    const consumer = this.#startConsumer(options, queues)
    const wakeUps = this.#hearOfPushes(consumer)
    for (const queue of queues.active) wakeUps.listenTo(queue)
    if (this.#connection.ready) await consumer.prepare(this.#connection.redis)
    this.#connection.open()
    return {
      limitLease: (token, milliseconds) => consumer.limitLease(token, milliseconds),
      grant: (credit) => consumer.grant(credit),
      settle: (outcome, queue) => consumer.settle(outcome, queue),
      flush: (timeoutMs) => consumer.flush(timeoutMs),
      stopTaking: () => consumer.stopTaking(),
      resumeTaking: () => consumer.resumeTaking(),
      addQueue: async (queue) => {
        if (!queues.add(queue)) return false
        this.#leases?.setLeases(queues.known.map((name) => this.#keys.leases(name)))
        wakeUps.listenTo(queue)
        await consumer.queuesChanged()
        return true
      },
      removeQueue: (queue) => {
        if (!queues.remove(queue)) return false
        wakeUps.stopListeningTo(queue)
        return true
      },
      close: async () => {
        await consumer.close()
        wakeUps.close()
        await this.#leases?.close()
      },
    }
  }

  #startConsumer(options: ConsumeOptions, queues: QueueSet): RedisConsumer {
    const process = newProcessTag()
    // Deliveries whose outcome is on its way keep their slot: up to two batches beyond the concurrency, which may be raised.
    const slots = new LeaseSlots(Math.max(options.concurrency, MAX_CONCURRENCY) + 1024)
    const onTrouble = this.#options.onTrouble ?? (() => undefined)
    const consumer = new RedisConsumer(
      {
        connection: this.#connection,
        keys: this.#keys,
        queues,
        process,
        slots,
        clock: this.#clock,
        random: this.#options.random ?? Math.random,
        dead: this.#options.dead ?? DEAD_KEPT,
        onIdle: () => this.#wakeUps?.arm(),
        leasesOverdue: () => this.#leases?.overdue === true,
        onTrouble,
      },
      options,
    )
    this.#consumer = consumer
    this.#leases = new LeaseKeeper(
      {
        ...this.#broker,
        process,
        memory: slots.memory,
        renewedAt: new SharedArrayBuffer(RENEWED_AT_BYTES),
        unacked: this.#keys.unacked,
        unackedIndex: this.#keys.unackedIndex,
        leases: queues.known.map((queue) => this.#keys.leases(queue)),
        leaseSeconds: LEASE_SECONDS,
        logFields: this.#options.logFields ?? {},
        renewMs: renewEveryMs(this.#options.visibilityTimeoutSeconds ?? 3600),
      },
      this.#connection,
      this.#clock,
      { onLost: (tag) => options.handlers.onLost(tag as DeliveryToken), onTrouble },
    )
    return consumer
  }

  #hearOfPushes(consumer: RedisConsumer): WakeUps {
    this.#wakeUps = new WakeUps({
      broker: this.#broker,
      keys: this.#keys,
      subscriber: this.#subscriber,
      clock: this.#clock,
      onWake: () => consumer.wake(),
      onTrouble: (error) => {
        const { message } = this.#connection.coded(error)
        this.#tellOnce(`wake-ups can't be heard, so tasks wait for the poll: ${message}`)
      },
    })
    return this.#wakeUps
  }

  /** For what fails again and again in the same way. */
  #tellOnce(message: string): void {
    if (this.#told.has(message)) return
    this.#told.add(message)
    this.#options.onTrouble?.(message)
  }

  publish(publications: readonly Publication[]): Promise<void> {
    return this.#publisher.publish(publications)
  }

  publishUnique(publication: Publication, hold: UniqueHold, ttlMs: number): Promise<string> {
    return this.#publisher.publishUnique(publication, hold, ttlMs)
  }

  async broadcast(exchange: string, routingKey: string, raw: string): Promise<void> {
    await this.#command((redis) => redis.publish(this.#keys.fanout(exchange, routingKey), raw))
  }

  async subscribe(exchange: string, pattern: string, handler: BroadcastHandler): Promise<() => Promise<void>> {
    const channel = this.#keys.fanout(exchange, pattern)
    return pattern.includes('*')
      ? this.#subscriber.psubscribe(escapePattern(this.#keys.fanout(exchange, '')) + `/${pattern}`, handler)
      : this.#subscriber.subscribe(channel, handler)
  }

  async reply(exchange: string, routingKey: string, raw: string): Promise<void> {
    await this.#command(async (redis) => {
      const queues = boundQueues(await redis.smembers(this.#keys.binding(exchange)), routingKey)
      for (const queue of queues) await redis.lpush(this.#keys.list(queue, 0), raw)
    })
  }

  async request(exchange: string, questions: readonly string[], replies: ReplyQueue): Promise<Replies> {
    const asked = { exchange, questions, replies, countsListeners: this.#countsListeners }
    return this.#command((redis) => request(redis, this.#keys, asked, this.#clock))
  }

  async depth(queues: readonly string[]): Promise<Depth> {
    return this.#command((redis) => readDepth(redis, this.#keys, queues))
  }

  async parked(queues: readonly string[], limit: number): Promise<Parked[]> {
    return this.#command((redis) => readParked(redis, this.#keys, queues, limit))
  }

  async close(): Promise<void> {
    await this.#consumer?.close()
    this.#wakeUps?.close()
    await this.#leases?.close()
    this.#subscriber.close()
    this.#connection.close()
  }

  async #command<T>(run: (redis: RedisConnection['redis']) => Promise<T>): Promise<T> {
    await this.#connection.whenReady(this.#options.timeouts?.connectMs ?? CONNECT_MS)
    try {
      return await run(this.#connection.redis)
    } catch (error) {
      throw this.#connection.coded(error)
    }
  }
}

/** Three times within a lease, and three times within what Python's sweep allows. */
function renewEveryMs(visibilityTimeoutSeconds: number): number {
  return Math.max(200, Math.min((LEASE_SECONDS * 1000) / 3, (visibilityTimeoutSeconds * 1000) / 3))
}

/** A prefix may hold characters that mean something in a pattern. */
function escapePattern(text: string): string {
  return text.replace(/[*?[\]\\]/g, '\\$&')
}
