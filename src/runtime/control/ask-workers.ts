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

/** Answers by the names of workers. */
export type Answers = Readonly<Record<string, unknown>>

/** @returns answers by the names of workers; @throws BrokerError */
export async function askWorkers(
  transport: Pick<Transport, 'request'>,
  method: string,
  options: AskOptions,
): Promise<Answers> {
  return (await askTogether(transport, [method], options)).answers(method)
}

/** Asks several things at once, which costs hardly more than one. @throws BrokerError */
export async function askTogether<Method extends string>(
  transport: Pick<Transport, 'request'>,
  methods: readonly Method[],
  { destination, timeoutMs }: AskOptions,
): Promise<{ answers(method: Method): Answers; complete: boolean }> {
  const routingKey = uuid4()
  const expires = Date.now() / 1000 + timeoutMs / 1000
  const tickets = new Map(methods.map((method) => [method, uuid4()]))
  const to = { destination: destination && [...destination], routingKey, expires }
  const questions = [...tickets].map(([method, ticket]) => encodeControl(method, {}, { ...to, ticket }))
  const limit = destination && destination.length * questions.length
  const replies = { exchange: REPLY_EXCHANGE, routingKey, timeoutMs, limit }
  const { raws, complete } = await transport.request(CONTROL_EXCHANGE, questions, replies)
  const decoded = raws.map(decodeReply).filter((reply) => reply !== undefined)
  return {
    answers: (method) => {
      const ours = decoded.filter(({ ticket }) => ticket === tickets.get(method))
      return Object.fromEntries(ours.flatMap(({ answers }) => Object.entries(answers)))
    },
    complete,
  }
}
