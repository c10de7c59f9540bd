// `@taskqueue/runtime/broker`: what operator and companion ask a broker. Tasks go through TaskApp.
import { RedisStore } from './redis/store.ts'
import type { ConnectionTimeouts } from './redis/connection.ts'
import type { BrokerSafety, UnackedState, WaitingMessages } from './safety.ts'
import type { AgedBeatClock, BeatClock, BrokerTime, Cursor, DeadLetterSummary, Presence } from './store.ts'
import type { Depth, Replies, ReplyQueue } from './transport.ts'

export { BrokerError, type BrokerErrorCode } from '../errors.ts'
export {
  presenceKey,
  MOST_TASKS_TOLD,
  PRESENCE_EVERY_MS,
  PRESENCE_TTL_SECONDS,
  type TaskQueueName,
} from './presence.ts'
export { brokerOptions } from './redis/connection-options.ts'
export { parseBrokerUrl, redactText as redactUrl, renameHosts } from './redis/url.ts'
export type { AgedBeatClock, BeatClock, BrokerTime, Cursor, DeadLetterSummary, Presence } from './store.ts'
export type { Depth, QueueDepth } from './transport.ts'
export type { ConnectionTimeouts } from './redis/connection.ts'

/** How to reach a broker. */
export interface ConnectBrokerOptions {
  /** Goes before every key and channel; the TaskQueue's TASKQUEUE_KEY_PREFIX. Default none. */
  readonly keyPrefix?: string
  readonly timeouts?: ConnectionTimeouts
}

/** A connection to a broker that comes back by itself. Every call rejects with a coded BrokerError, its URL redacted. */
export interface BrokerConnection {
  /** Resolves when the broker answers. */
  ping(): Promise<void>
  /** Measures the broker's clock against this machine's. */
  time(): Promise<BrokerTime>
  /** Waiting, in flight and parked messages of queues. */
  depth(queues: readonly string[]): Promise<Depth>
  /** What the pods of a TaskQueue say; see presenceKey(). Fields that aren't presence are left out. */
  readPresence(key: string): Promise<Presence[]>
  writePresence(key: string, presence: Presence, ttlSeconds: number): Promise<void>
  removePresence(key: string, id: string): Promise<void>
  /** Asks the pods with these UIDs, and no others of the TaskQueue, to take nothing any more, for `ttlSeconds`; none lets all go on. */
  writeDraining(presenceKey: string, podUids: readonly string[], ttlSeconds: number): Promise<void>
  /** Whether a pod is asked to take nothing any more. */
  readDraining(presenceKey: string, podUid: string): Promise<boolean>
  /** Says beside the presence hash how beat's machine stands to the broker; gone after a minute. */
  writeBeatClock(presenceKey: string, clock: BeatClock): Promise<void>
  /** What beat's companion said last, and how long ago by the broker's clock; undefined when there is nothing to be read. */
  readBeatClock(presenceKey: string): Promise<AgedBeatClock | undefined>
  /** How many dead letters there are, over all queues of this broker and prefix. */
  countDeadLetters(): Promise<number>
  /** The same, and when the newest of them died. */
  deadLetters(): Promise<DeadLetterSummary>
  /** Whether the broker keeps what it is given, as far as it may be asked. */
  readSafety(): Promise<BrokerSafety>
  readUnacked(): Promise<UnackedState>
  /** Queues that workers of this runtime have used. */
  readQueues(): Promise<string[]>
  /** What a beat remembers of its schedules, by their names. */
  readCursors(beat: string): Promise<Map<string, Cursor>>
  /** The schedules of a beat that somebody has paused. */
  readPausedSchedules(beat: string): Promise<ReadonlySet<string>>
  /** Which of these messages lie among the `most` oldest ones of each priority of a queue. */
  waitingAmong(queue: string, ids: readonly string[], most: number): Promise<WaitingMessages>
  /** Sends control requests to workers and yields what they answer; see Transport.request. */
  request(exchange: string, questions: readonly string[], replies: ReplyQueue): Promise<Replies>
  close(): Promise<void>
}

/**
 * Connects to a broker; resolves at the first answer.
 * @throws BrokerError `BrokerUrlInvalid`, or why the broker didn't answer within `timeouts.connectMs` (5000); nothing is left open then
 */
export async function connectBroker(url: string, options: ConnectBrokerOptions = {}): Promise<BrokerConnection> {
  const store = new RedisStore({ url, ...options })
  try {
    await store.ping()
  } catch (error) {
    await store.close()
    throw error
  }
  return store
}
