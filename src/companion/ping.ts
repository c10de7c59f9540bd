// The ping that `celery inspect ping -d celery@<host>` sends, over one open connection, so that a probe costs a few Redis
// commands instead of a Python process. A broker that can't be reached proves nothing about the worker.

import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { brokerOptions } from '@taskqueue/runtime/broker'
import { Redis } from 'ioredis'

export type PingAnswer =
  | { state: 'pong' }
  /** The broker took the question and the worker did not answer in time. */
  | { state: 'silent' }
  /** The question could not be asked. */
  | { state: 'unknown'; why: string }

/** Below the probe's own limit of 5 s. */
const ANSWER_WITHIN_MS = 4_000
/** Liveness and readiness ask in turns; one answer serves both. */
const REUSE_MS = 2_000
const REPLY_EXCHANGE = 'reply.celery.pidbox'
/** kombu's separator of the parts of a binding. */
const SEP = '\x06\x16'

export class CeleryPing {
  readonly #url: string
  readonly #node: string
  readonly #oid = randomUUID()
  #last: { answer: PingAnswer; at: number } | undefined
  #running: Promise<PingAnswer> | undefined

  #redis: Redis | undefined

  /** A URL that can't be read is told by each answer: the companion stands on the pod's critical path and must not end for it. */
  constructor(url: string, node: string) {
    this.#url = url
    this.#node = node
    try {
      this.#open()
    } catch {
      // #askNow says it.
    }
  }

  /** Asks the worker, or joins a question that is under way. */
  async ask(): Promise<PingAnswer> {
    if (this.#last && performance.now() - this.#last.at < REUSE_MS) return this.#last.answer
    this.#running ??= this.#askNow().finally(() => {
      this.#running = undefined
    })
    return this.#running
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

  async #askNow(): Promise<PingAnswer> {
    let answer: PingAnswer
    try {
      answer = { state: (await this.#question(this.#open())) ? 'pong' : 'silent' }
    } catch (error) {
      answer = { state: 'unknown', why: error instanceof Error ? error.message : String(error) }
    }
    this.#last = { answer, at: performance.now() }
    return answer
  }

  async #question(redis: Redis): Promise<boolean> {
    const ticket = randomUUID()
    const inbox = `${this.#oid}.${REPLY_EXCHANGE}`
    const binding = `${this.#oid}${SEP}${SEP}${inbox}`
    const table = `_kombu.binding.${REPLY_EXCHANGE}`
    await redis.sadd(table, binding)
    try {
      await redis.publish(`/${redis.options.db ?? 0}.celery.pidbox`, this.#message(ticket))
      const deadline = performance.now() + ANSWER_WITHIN_MS
      for (let pause = 10; performance.now() < deadline; pause = Math.min(200, pause * 1.5)) {
        const reply = await redis.rpop(inbox)
        if (reply !== null && isAnswerTo(reply, ticket)) return true
        if (reply === null) await delay(pause)
      }
      return false
    } finally {
      await redis.multi().srem(table, binding).del(inbox).exec()
    }
  }

  #message(ticket: string): string {
    const body = {
      method: 'ping',
      arguments: {},
      destination: [this.#node],
      pattern: null,
      matcher: null,
      ticket,
      reply_to: { exchange: REPLY_EXCHANGE, routing_key: this.#oid },
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
}

/** A late answer to an earlier question may still lie in the inbox: it is no answer to this one. */
function isAnswerTo(raw: string, ticket: string): boolean {
  try {
    const message = JSON.parse(raw) as { headers?: { ticket?: unknown } } | null
    return message?.headers?.ticket === ticket
  } catch {
    return false
  }
}
