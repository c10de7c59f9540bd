// Celery's remote control: hears requests on the pidbox exchange, picks those meant for us, sends the replies.
import type { Clock } from '../clock.ts'
import { asError } from '../errors.ts'
import type { LamportClock } from '../events/lamport.ts'
import type { Logger } from '../log.ts'
import { CONTROL_EXCHANGE, decodeControl, encodeReply, isForUs } from '../protocol/control.ts'
import type { Transport } from '../broker/transport.ts'

/** A method's answer; undefined answers nothing. */
export type ControlMethod = (args: Readonly<Record<string, unknown>>) => unknown

export interface PidboxOptions {
  readonly transport: Pick<Transport, 'subscribe' | 'reply'>
  readonly hostname: string
  readonly lamport: LamportClock
  readonly log: Logger
  readonly clock: Clock
  readonly methods: Readonly<Record<string, ControlMethod>>
}

const RESUBSCRIBE_MS = 3000

export class Pidbox {
  readonly #options: PidboxOptions
  #unsubscribe: (() => Promise<void>) | undefined
  #stopped = false

  constructor(options: PidboxOptions) {
    this.#options = options
  }

  /** Listens as soon as the broker is there. */
  start(): void {
    const { transport, clock } = this.#options
    transport
      .subscribe(CONTROL_EXCHANGE, '', (_channel, raw) => void this.#onRequest(raw))
      .then((unsubscribe) => {
        this.#unsubscribe = unsubscribe
      })
      .catch(() => {
        if (!this.#stopped) clock.after(RESUBSCRIBE_MS, () => this.start(), { background: true })
      })
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#unsubscribe?.()
  }

  async #onRequest(raw: string): Promise<void> {
    const { hostname, lamport, log, methods, transport, clock } = this.#options
    const request = decodeControl(raw)
    if (!request || !isForUs(request, hostname)) return
    lamport.adjust(request.clock)
    if (request.expires !== undefined && request.expires * 1000 < clock.now()) return
    const method = Object.hasOwn(methods, request.method) ? methods[request.method] : undefined
    let answer: unknown
    try {
      answer = method ? await method(request.arguments) : { error: `unknown control method ${request.method}` }
    } catch (error) {
      answer = { error: asError(error).message }
      log.warn(
        { event: 'control-failed', method: request.method, error },
        `remote control method ${request.method} failed`,
      )
    }
    if (answer === undefined || !request.replyTo) return
    const { exchange, routingKey } = request.replyTo
    try {
      const ticket = { ticket: request.ticket, clock: lamport.forward(), exchange, routingKey }
      // An answer that JSON has no word for is as bad as a broker that is away.
      await transport.reply(exchange, routingKey, encodeReply(hostname, answer, ticket))
    } catch (error) {
      log.warn(
        { event: 'control-failed', method: request.method, error },
        'a reply to remote control could not be sent',
      )
    }
  }
}
