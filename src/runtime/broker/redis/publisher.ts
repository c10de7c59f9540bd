// Puts messages on queues. What is published together goes out together: one LPUSH a list.
import { asError, BrokerError, type BrokerErrorCode } from '../../errors.ts'
import { priorityStep } from '../../protocol/queue-key.ts'
import type { Publication, UniqueHold } from '../transport.ts'
import type { RedisConnection } from './connection.ts'
import type { Keys } from './keys.ts'
import { roundTrip } from './round-trip.ts'
import { runScript, type ScriptCall } from './scripts.ts'

/** From here on publishing fails rather than queueing: a broker that is away must not fill the producer's memory. */
export const PUBLISH_DEADLINE_MS = 5000
const BATCH_MESSAGES = 500
const BATCH_BYTES = 1024 * 1024
/** Messages, and their characters, that wait for the broker at once; more are refused. */
const MAX_WAITING = 50_000
const MAX_WAITING_LENGTH = 64 * 1024 * 1024

/** What a publish waits out: nothing was stored, and a failover or a restart ends it. */
const PASSES: ReadonlySet<BrokerErrorCode> = new Set([
  'BrokerUnreachable',
  'BrokerLoading',
  'BrokerReadOnly',
  'BrokerMoved',
])

interface Waiting {
  readonly publications: readonly Publication[]
  readonly length: number
  readonly deadline: number
  readonly resolve: () => void
  readonly reject: (error: BrokerError) => void
}

export class RedisPublisher {
  readonly #connection: RedisConnection
  readonly #keys: Keys
  #waiting: Waiting[] = []
  #scheduled = false
  /** Batches that the broker has not answered yet. */
  #onTheirWay = 0
  #waitingMessages = 0
  #waitingLength = 0

  constructor(connection: RedisConnection, keys: Keys) {
    this.#connection = connection
    this.#keys = keys
  }

  /** Resolves when the broker has the messages. @throws BrokerError within PUBLISH_DEADLINE_MS */
  publish(publications: readonly Publication[]): Promise<void> {
    // One promise a publish, and nothing awaited on its way: this is what bulk senders wait for.
    return new Promise((resolve, reject) => {
      const length = this.#hold(publications)
      const deadline = performance.now() + PUBLISH_DEADLINE_MS
      this.#waiting.push({ publications, length, deadline, resolve, reject })
      this.#kick()
    })
  }

  /** Counts what waits for the broker, and refuses what would be too much. @returns its length @throws BrokerError */
  #hold(publications: readonly Publication[]): number {
    let length = 0
    for (const { raw } of publications) length += raw.length
    // One that is larger than all room is let through alone.
    const full =
      this.#waitingMessages + publications.length > MAX_WAITING ||
      (this.#waitingLength > 0 && this.#waitingLength + length > MAX_WAITING_LENGTH)
    if (full) {
      const message = `${this.#waitingMessages} messages of ${this.#waitingLength} characters wait for the broker already: slow down, or await each publish`
      throw new BrokerError('BrokerUnreachable', message)
    }
    this.#waitingMessages += publications.length
    this.#waitingLength += length
    return length
  }

  #letGo(messages: number, length: number): void {
    this.#waitingMessages -= messages
    this.#waitingLength -= length
  }

  #settle({ publications, length, resolve, reject }: Waiting, error?: BrokerError): void {
    this.#letGo(publications.length, length)
    if (error) reject(error)
    else resolve()
  }

  #kick(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    const go = (): void => {
      this.#scheduled = false
      for (const batch of batches(this.#waiting.splice(0))) void this.#send(batch)
    }
    // One alone goes at once; while others are on their way, what comes in one turn of the event loop shares a write.
    if (this.#onTheirWay === 0) process.nextTick(go)
    else setImmediate(go)
  }

  /**
   * Sends a batch, again while its deadline allows when the connection broke: the first attempt may have arrived, so a
   * message may be there twice, with one id. At least once holds for publishing too.
   */
  async #send(batch: readonly Waiting[]): Promise<void> {
    const deadline = Math.min(...batch.map((waiting) => waiting.deadline))
    this.#onTheirWay += 1
    const errors = await this.#patiently(deadline, () => this.#push(batch)).catch((error: unknown) =>
      batch.map(() => error as BrokerError),
    )
    // Before it is told: whoever waited for this one may send the next at once, and that one is alone again.
    this.#onTheirWay -= 1
    batch.forEach((waiting, i) => this.#settle(waiting, errors[i]))
  }

  /** Publishes unless another message holds the name; the id of the one that does. @throws BrokerError within PUBLISH_DEADLINE_MS */
  async publishUnique(publication: Publication, { name, id }: UniqueHold, ttlMs: number): Promise<string> {
    const { queue, priority, raw } = publication
    const call: ScriptCall = {
      name: 'publish-unique',
      keys: [this.#keys.unique(name), this.#keys.list(queue, priorityStep(priority))],
      args: [id, Math.ceil(ttlMs), raw, this.#keys.wake(queue)],
    }
    const deadline = performance.now() + PUBLISH_DEADLINE_MS
    const length = this.#hold([publication])
    try {
      return String(await this.#patiently(deadline, () => runScript(this.#connection.redis, call)))
    } finally {
      this.#letGo(1, length)
    }
  }

  /** Tries again what passes until the deadline. @throws BrokerError */
  async #patiently<T>(deadline: number, run: () => Promise<T>): Promise<T> {
    // What the broker said is worth more than that the connection was cut for it.
    let said: BrokerError | undefined
    for (;;) {
      try {
        await this.#connection.whenReady(Math.max(1, deadline - performance.now()))
        return await run()
      } catch (thrown) {
        const error = this.#connection.coded(thrown)
        if (error.code !== 'BrokerUnreachable' && error.code !== 'BrokerTimeout') said = error
        const over = this.#connection.closed || performance.now() >= deadline
        if (!PASSES.has(error.code) || over) throw said ?? error
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }

  /** What became of each of the batch by itself: a list that refuses its messages must not cost those of others. */
  async #push(batch: readonly Waiting[]): Promise<(BrokerError | undefined)[]> {
    const lists = new Map<string, string[]>()
    const channels = new Set<string>()
    for (const { queue, priority, raw } of batch.flatMap((waiting) => waiting.publications)) {
      const key = this.#keys.list(queue, priorityStep(priority))
      const list = lists.get(key)
      if (list) list.push(raw)
      else lists.set(key, [raw])
      channels.add(this.#keys.wake(queue))
    }
    const { redis } = this.#connection
    const pushes = [...lists].map(
      ([key, raws]) =>
        () =>
          redis.lpush(key, ...raws),
    )
    // A wake-up is a courtesy: that it is refused (an ACL without channels) doesn't unsay the push.
    const wakes = [...channels].map((channel) => () => redis.publish(channel, '1'))
    const replies = await roundTrip(redis, [...pushes, ...wakes])
    const errors = new Map([...lists.keys()].map((key, i) => [key, refusal(replies[i])]))
    const refused = [...errors.values()].filter((error) => error !== undefined)
    // Nothing arrived: whether it may be tried again is for the caller to see.
    if (refused[0] && refused.length === lists.size) throw refused[0]
    if (refused.length === 0) return []
    return batch.map(({ publications }) => {
      const lists = publications.map(({ queue, priority }) => this.#keys.list(queue, priorityStep(priority)))
      const error = lists.map((list) => errors.get(list)).find((one) => one)
      return error ? this.#connection.coded(error) : undefined
    })
  }
}

function refusal(reply: PromiseSettledResult<unknown> | undefined): Error | undefined {
  return reply?.status === 'rejected' ? asError(reply.reason) : undefined
}

function* batches(waiting: readonly Waiting[]): Generator<Waiting[]> {
  let batch: Waiting[] = []
  let messages = 0
  let bytes = 0
  for (const one of waiting) {
    batch.push(one)
    messages += one.publications.length
    bytes += one.publications.reduce((sum, { raw }) => sum + raw.length, 0)
    if (messages >= BATCH_MESSAGES || bytes >= BATCH_BYTES) {
      yield batch
      batch = []
      messages = 0
      bytes = 0
    }
  }
  if (batch.length > 0) yield batch
}
