// Asks a Celery worker by the pidbox, as `celery inspect` does, over one open connection. It knows nothing of what is asked.

import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { brokerOptions } from '@taskqueue/runtime/broker'
import { Redis } from 'ioredis'

/** Below a probe's own limit of 5 s. */
const ANSWER_WITHIN_MS = 4_000
/** Beyond it an answer is none: with the arguments of its tasks one may be larger than this process. */
const MOST_ANSWER_BYTES = 1_000_000
const TAKE_ANSWER = `local answer = redis.call('RPOP', KEYS[1])
if answer and #answer > tonumber(ARGV[1]) then return '' end
return answer`
const REPLY_EXCHANGE = 'reply.celery.pidbox'
/** kombu's separator of the parts of a binding. */
const SEP = '\x06\x16'

export class Pidbox {
  readonly #url: string
  readonly #node: string
  #redis: Redis | undefined

  /** A URL that can't be read is told by each question: the companion stands on the pod's critical path and must not end for it. */
  constructor(url: string, node: string) {
    this.#url = url
    this.#node = node
    try {
      this.#open()
    } catch {
      // ask says it.
    }
  }

  /**
   * Asks the worker.
   * @param method of the worker's control panel, such as `ping`
   * @param args its arguments, by name
   * @param withinMs how long the answer is waited for
   * @returns what it answered; undefined when it did not in time
   * @throws when the question could not be asked
   */
  async ask(
    method: string,
    args: Readonly<Record<string, unknown>> = {},
    withinMs = ANSWER_WITHIN_MS,
  ): Promise<unknown> {
    const redis = this.#open()
    // An inbox of its own: two questions at once don't take each other's answers.
    const oid = randomUUID()
    const ticket = randomUUID()
    const inbox = `${oid}.${REPLY_EXCHANGE}`
    const binding = `${oid}${SEP}${SEP}${inbox}`
    const table = `_kombu.binding.${REPLY_EXCHANGE}`
    await redis.sadd(table, binding)
    try {
      await redis.publish(`/${redis.options.db ?? 0}.celery.pidbox`, this.#message(method, args, ticket, oid))
      const deadline = performance.now() + withinMs
      for (let pause = 10; performance.now() < deadline; pause = Math.min(200, pause * 1.5)) {
        const reply = (await redis.eval(TAKE_ANSWER, 1, inbox, MOST_ANSWER_BYTES)) as string | null
        if (reply === '') return undefined
        const answer = reply === null ? undefined : this.#answerIn(reply, ticket)
        if (answer !== undefined) return answer
        if (reply === null) await delay(pause)
      }
      return undefined
    } finally {
      await redis.multi().srem(table, binding).del(inbox).exec()
    }
  }

  /**
   * Whether the worker has told the broker of its pidbox: it has not while it starts, and never with remote control switched off.
   * @throws when the broker can't be asked
   */
  async bound(): Promise<boolean> {
    const table = '_kombu.binding.celery.pidbox'
    return (await this.#open().sismember(table, `${SEP}${SEP}${this.#node}.celery.pidbox`)) === 1
  }

  close(): void {
    this.#redis?.disconnect()
  }

  /** The connection, begun at the first call; it comes back by itself. @throws BrokerError `BrokerUrlInvalid` */
  #open(): Redis {
    if (this.#redis) return this.#redis
    const redis = new Redis({
      // A Python worker's queues have no prefix of ours.
      ...brokerOptions(this.#url, ''),
      lazyConnect: true,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      connectTimeout: 3_000,
      commandTimeout: 3_000,
      retryStrategy: (attempt) => Math.min(10_000, 250 * 2 ** Math.min(attempt, 10)),
    })
    // Without a listener ioredis prints; the state is told by each answer instead.
    redis.on('error', () => undefined)
    redis.connect().catch(() => undefined)
    this.#redis = redis
    return redis
  }

  #message(method: string, args: Readonly<Record<string, unknown>>, ticket: string, oid: string): string {
    const body = {
      method,
      arguments: args,
      destination: [this.#node],
      pattern: null,
      matcher: null,
      ticket,
      reply_to: { exchange: REPLY_EXCHANGE, routing_key: oid },
    }
    return JSON.stringify({
      body: Buffer.from(JSON.stringify(body)).toString('base64'),
      'content-encoding': 'utf-8',
      'content-type': 'application/json',
      headers: { clock: 0, expires: Date.now() / 1000 + ANSWER_WITHIN_MS / 1000 + 60 },
      properties: {
        delivery_mode: 2,
        delivery_info: { exchange: 'celery.pidbox', routing_key: '' },
        priority: 0,
        body_encoding: 'base64',
        delivery_tag: randomUUID(),
      },
    })
  }

  /** What the worker says in a message; undefined when it is no answer to this question. */
  #answerIn(raw: string, ticket: string): unknown {
    try {
      const message = JSON.parse(raw) as {
        headers?: { ticket?: unknown }
        body?: unknown
        properties?: { body_encoding?: unknown }
      } | null
      if (message?.headers?.ticket !== ticket || typeof message.body !== 'string') return undefined
      const encoded = message.properties?.body_encoding === 'base64'
      const body = encoded ? Buffer.from(message.body, 'base64').toString('utf8') : message.body
      return (JSON.parse(body) as Record<string, unknown>)[this.#node] ?? {}
    } catch {
      return undefined
    }
  }
}
