// Sends events the way Celery does: worker events one by one, task events as a list every half second. Losing events is no
// failure of a task: what can't be sent is dropped and counted.
import type { Clock, Timer } from '../clock.ts'
import { encodeEnvelope, type JsonObject } from '../protocol/envelope.ts'
import type { Transport } from '../broker/transport.ts'
import type { LamportClock } from './lamport.ts'

const EXCHANGE = 'celeryev'
const FLUSH_MS = 500
const FLUSH_AT = 200
/** Events kept while the broker is away. */
const MOST_KEPT = 10_000

export class EventSender {
  readonly #transport: Pick<Transport, 'broadcast' | 'state'>
  readonly #hostname: string
  readonly #clock: Clock
  readonly #lamport: LamportClock
  #buffer: JsonObject[] = []
  #timer: Timer | undefined
  dropped = 0

  constructor(
    transport: Pick<Transport, 'broadcast' | 'state'>,
    hostname: string,
    clock: Clock,
    lamport: LamportClock,
  ) {
    this.#transport = transport
    this.#hostname = hostname
    this.#clock = clock
    this.#lamport = lamport
  }

  /** A worker event or task-sent, at once. Never rejects. */
  async send(type: string, fields: JsonObject): Promise<void> {
    await this.#publish(type.replace('-', '.'), this.#event(type, fields))
  }

  /** A task event, with the next list. */
  buffer(type: string, fields: JsonObject): void {
    if (this.#buffer.length >= MOST_KEPT) {
      this.dropped += 1
      return
    }
    this.#buffer.push(this.#event(type, fields))
    if (this.#buffer.length >= FLUSH_AT) void this.flush()
    else this.#timer ??= this.#clock.after(FLUSH_MS, () => void this.flush(), { background: true })
  }

  /** Sends what is buffered. */
  async flush(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    const events = this.#buffer
    if (events.length === 0) return
    this.#buffer = []
    await this.#publish('task.multi', events)
  }

  #event(type: string, fields: JsonObject): JsonObject {
    return {
      hostname: this.#hostname,
      utcoffset: new Date().getTimezoneOffset() / 60,
      pid: process.pid,
      clock: this.#lamport.forward(),
      timestamp: this.#clock.now() / 1000,
      type,
      ...fields,
    }
  }

  async #publish(routingKey: string, body: unknown): Promise<void> {
    const count = Array.isArray(body) ? body.length : 1
    if (!this.#transport.state().connected) {
      this.dropped += count
      return
    }
    const raw = encodeEnvelope({
      headers: { hostname: this.#hostname },
      body,
      exchange: EXCHANGE,
      routingKey,
      deliveryMode: 1,
    })
    try {
      await this.#transport.broadcast(EXCHANGE, routingKey, raw)
    } catch {
      this.dropped += count
    }
  }
}
