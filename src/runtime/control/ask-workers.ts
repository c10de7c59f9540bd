// Asks running workers over Celery's remote control, Node's and Python's alike, and collects their answers.
import type { Transport } from '../broker/transport.ts'
import { CONTROL_EXCHANGE, REPLY_EXCHANGE, decodeReply, encodeControl } from '../protocol/control.ts'
import { uuid4 } from '../protocol/uuid.ts'

export interface AskOptions {
  /** Workers to ask; all when undefined. */
  readonly destination?: readonly string[] | undefined
  /** How long to wait for answers, in milliseconds. */
  readonly timeoutMs: number
}

/** @returns answers by the names of workers; @throws BrokerError */
export async function askWorkers(
  transport: Pick<Transport, 'request'>,
  method: string,
  { destination, timeoutMs }: AskOptions,
): Promise<Record<string, unknown>> {
  const routingKey = uuid4()
  const expires = Date.now() / 1000 + timeoutMs / 1000
  const request = encodeControl(method, {}, { destination: destination && [...destination], routingKey, expires })
  const replies = await transport.request(CONTROL_EXCHANGE, request, {
    exchange: REPLY_EXCHANGE,
    routingKey,
    timeoutMs,
    limit: destination?.length,
  })
  return Object.fromEntries(replies.flatMap((reply) => Object.entries(decodeReply(reply) ?? {})))
}
