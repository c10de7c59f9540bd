// What a broker must be able to do, so that RabbitMQ can follow Redis. Redis keys, JSON envelopes and ticks are not in it.
import type { MessageError } from '../errors.ts'
import type { Envelope } from '../protocol/envelope.ts'

/** Names one delivery to the transport that made it. Valid for one connection epoch; meaningless elsewhere. */
export type DeliveryToken = string & { readonly __delivery: never }

/** One message in our hands, under a lease that the transport renews until it is settled. */
export interface Delivery {
  readonly token: DeliveryToken
  readonly queue: string
  /** The message, or why it can't be read. */
  readonly message: Envelope | MessageError
  /** The broker's clock when it was taken, in milliseconds since the epoch. */
  readonly takenAt: number
}

/** A message for a queue. `raw` is encoded by protocol/. */
export interface Publication {
  readonly queue: string
  /** 0 (most urgent on Redis) to 9. */
  readonly priority: number
  readonly raw: string
}

/** A message that shall not be handed out before `dueAt` (milliseconds since the epoch, the broker's clock). */
export interface Parking extends Publication {
  readonly dueAt: number
}

/** A task's result, stored together with the outcome where the store allows it. */
export interface ResultWrite {
  readonly taskId: string
  readonly json: string
  readonly ttlSeconds: number
}

/** Why a message ended among the dead letters; `message` itself is kept byte for byte beside it. */
export interface DeadLetter {
  /** The task's id, or an id of its own for a message that has none. */
  readonly id: string
  readonly task: string | null
  readonly queue: string
  /** A code such as RetriesSpent, NotRegistered or NotJson. */
  readonly reason: string
  readonly error: string
  readonly traceback: string | null
  readonly attempts: number
  /** Milliseconds since the epoch. */
  readonly diedAt: number
  readonly worker: string
}

/** A chord begins to count the tasks of its header. */
export interface ChordCount {
  readonly groupId: string
  readonly size: number
  /** What the body is given, where that is no plain list; kept beside the count. */
  readonly shape?: string
  readonly ttlSeconds: number
}

/** What goes out together with an outcome. */
export interface Following {
  readonly publish: readonly Publication[]
  readonly results: readonly ResultWrite[]
  readonly counts: readonly ChordCount[]
  /** Chords whose header is complete. What belongs to their bodies happens only while the claim is ours. */
  readonly chords: readonly ChordEnding[]
}

/** The end of a chord, claimed by Store.chordPart. */
export interface ChordEnding extends Omit<Following, 'chords'> {
  readonly groupId: string
  readonly claim: string
}

/** What a unique task holds, from when it is sent until it has ended. */
export interface UniqueHold {
  readonly name: string
  /** The task that holds it. */
  readonly id: string
}

/** What happens to a delivery. All that one outcome says happens at once, or, when the lease was lost, not at all. */
export type Outcome = {
  /** Null for a delivery that was acknowledged before it ran: nothing fences its outcome then. */
  readonly token: DeliveryToken | null
  readonly result?: ResultWrite | undefined
  readonly following?: Following | undefined
  /** Ends the uniqueness of a task. */
  readonly release?: UniqueHold | undefined
} & (
  | { readonly kind: 'complete'; readonly publish?: readonly Publication[] }
  | { readonly kind: 'retry'; readonly publish: Publication | Parking }
  | { readonly kind: 'park'; readonly dueAt: number }
  /** `message` only where there is no token: the broker has the message itself otherwise. */
  | { readonly kind: 'dead'; readonly letter: DeadLetter; readonly message?: string }
  /** Back to the head of its queue; `begun` marks it as redelivered. */
  | { readonly kind: 'giveBack'; readonly begun: boolean }
)

/** Numbers of one queue. */
export interface QueueDepth {
  readonly queue: string
  /** Messages that a worker could take now, over all priorities. */
  readonly waiting: number
  /** Messages that our own workers hold under a lease. */
  readonly inFlight: number
  /** Messages of our own workers that wait for their time. */
  readonly parked: number
}

/** Numbers of a broker. */
export interface Depth {
  readonly queues: readonly QueueDepth[]
  /**
   * Messages that Python workers hold (running, prefetched, or waiting for their eta), over all queues of the broker:
   * kombu keeps one table for all, so there is no number per queue.
   */
  readonly foreignUnacked: number
}

/** A message that waits in the broker for its time. */
export interface Parked {
  readonly queue: string
  /** Milliseconds since the epoch, the broker's clock. */
  readonly dueAt: number
  readonly raw: string
}

/** What the connection is doing. */
export interface TransportState {
  readonly connected: boolean
  /** The last error of the connection, redacted; undefined while connected. */
  readonly error: string | undefined
  /** The consumer's last completed round trip, on the monotonic clock; undefined before the first. */
  readonly lastRoundTrip: number | undefined
  /** Why the consumer takes nothing, or not from all queues, although the broker is connected; undefined while all is well. */
  readonly trouble: string | undefined
}

/** What a consumer calls. */
export interface ConsumerHandlers {
  /** Never more deliveries than were granted. */
  onDeliveries(deliveries: readonly Delivery[]): void
  /** The lease of a delivery is lost: someone else may run it now. Its outcome will be ignored by the broker. */
  onLost(token: DeliveryToken): void
}

/** A running subscription to queues. */
export interface Consumer {
  /** Allows `credit` more deliveries; less than 0 takes some back. */
  grant(credit: number): void
  /** Renews the lease of a delivery no longer than `milliseconds` from now. */
  limitLease(token: DeliveryToken, milliseconds: number): void
  /** Hands an outcome over; it is kept and sent again, harmlessly, until the broker has confirmed it. */
  settle(outcome: Outcome, queue: string): void
  /** Resolves when every outcome handed over is confirmed, or rejects with BrokerError after `timeoutMs`. */
  flush(timeoutMs: number): Promise<void>
  /** Takes from another queue too, from now on; false when it does already. @throws UsageError when there are too many */
  addQueue(queue: string): Promise<boolean>
  /** Takes nothing more from a queue; what was taken from it goes on. False when it didn't take from it. */
  removeQueue(queue: string): boolean
  /** Takes nothing more. Deliveries that arrive from a request on its way are given back. */
  stopTaking(): void
  /** Takes again. */
  resumeTaking(): void
  /** Ends the subscription and its connections. */
  close(): Promise<void>
}

/** How to consume. */
export interface ConsumeOptions {
  readonly queues: readonly string[]
  /** The most deliveries held at once. */
  readonly concurrency: number
  readonly handlers: ConsumerHandlers
}

/** What a transport can do by itself; what it can't, the worker does without or refuses to start. */
export interface Capabilities {
  /** An outcome and its publications are one atomic step. */
  readonly atomicSettle: boolean
  /** Leases can be extended while a task runs. */
  readonly extend: boolean
  /** Messages can wait in the broker until they are due. */
  readonly park: boolean
  /** `lowFirst`: 0 is the most urgent priority. */
  readonly priorityOrder: 'lowFirst' | 'highFirst'
}

/** A control or event message from the broker's fanout. */
export type BroadcastHandler = (channel: string, raw: string) => void

/** A broker. */
export interface Transport {
  readonly capabilities: Capabilities
  /** Opens the connection; resolves when the broker answered, rejects with BrokerError after the connect time-out. */
  connect(): Promise<void>
  state(): TransportState
  /** Makes queues known to recovery and to other clients. */
  declare(queues: readonly string[]): Promise<void>
  consume(options: ConsumeOptions): Promise<Consumer>
  /**
   * Puts messages on their queues; resolves when the broker has them.
   * @throws BrokerError within the publish time-out, 5 s
   */
  publish(publications: readonly Publication[]): Promise<void>
  /**
   * Publishes unless another message holds the name. Repeating it with the same id publishes nothing.
   * @param ttlMs the longest time that the name is held
   * @returns the id of the message that holds it: the same when this one was published
   * @throws BrokerError within the publish time-out, 5 s
   */
  publishUnique(publication: Publication, hold: UniqueHold, ttlMs: number): Promise<string>
  /** Sends to everyone who listens on a fanout exchange. */
  broadcast(exchange: string, routingKey: string, raw: string): Promise<void>
  /** Listens to a fanout exchange until the returned function is called. */
  subscribe(exchange: string, routingPattern: string, handler: BroadcastHandler): Promise<() => Promise<void>>
  /** Answers a control request. */
  reply(exchange: string, routingKey: string, raw: string): Promise<void>
  /** Sends control requests and yields the raw replies that come within the time-out, or until everybody has answered. */
  request(exchange: string, questions: readonly string[], replies: ReplyQueue): Promise<Replies>
  depth(queues: readonly string[]): Promise<Depth>
  /** Parked messages, the next ones due first; only where the transport can park. */
  parked(queues: readonly string[], limit: number): Promise<Parked[]>
  close(): Promise<void>
}

/** What came of control requests. */
export interface Replies {
  readonly raws: readonly string[]
  /** False when there were too many bytes of them, and not all were taken. */
  readonly complete: boolean
}

/** Where replies to a control request are collected. */
export interface ReplyQueue {
  readonly exchange: string
  readonly routingKey: string
  readonly timeoutMs: number
  /** Stop early once so many have come. */
  readonly limit?: number | undefined
}
