// What is to become of a message that was taken: whether it runs now, waits, has expired, or can't be run here. Pure; doing it is
// runner.ts's.
import type { Delivery } from '../broker/transport.ts'
import { aftermathOf, hasAftermath } from '../canvas/aftermath.ts'
import { MessageError } from '../errors.ts'
import { MAX_AHEAD_MS } from '../protocol/instant.ts'
import { decodeTask, type TaskMessage } from '../protocol/task-message.ts'
import type { RegisteredTask, TaskTable } from '../task.ts'

/** The verdict on a message. */
export type Admission =
  | {
      readonly kind: 'run'
      readonly message: TaskMessage
      readonly task: RegisteredTask
      readonly redelivered: boolean
      /** Workers that were lost while they had it. */
      readonly lostDeliveries: number
    }
  | { readonly kind: 'park'; readonly message: TaskMessage; readonly dueAt: number }
  | { readonly kind: 'expired'; readonly message: TaskMessage }
  /** Somebody called it off. */
  | { readonly kind: 'revoked'; readonly message: TaskMessage }
  /** To the dead letters: it can be read, and not be run. */
  | { readonly kind: 'bury'; readonly message: TaskMessage; readonly reason: string; readonly error: Error }

/**
 * Judges a delivery.
 * @throws MessageError when the message can't be understood
 */
export function admit(
  { message: envelope, takenAt }: Delivery,
  tasks: TaskTable,
  { maxLostDeliveries, isRevoked }: { maxLostDeliveries: number; isRevoked: (id: string) => boolean },
): Admission {
  if (envelope instanceof MessageError) throw envelope
  const message = decodeTask(envelope)
  const bury = (reason: string, text: string): Admission => ({ kind: 'bury', message, reason, error: new Error(text) })
  if (envelope.lostDeliveries >= maxLostDeliveries) {
    const text = `${envelope.lostDeliveries} workers were lost while they had this task; it may be what ended them`
    return bury('DeliveredTooOften', text)
  }
  if (isRevoked(message.id)) return { kind: 'revoked', message }
  if (message.expires !== undefined && message.expires <= takenAt) return { kind: 'expired', message }
  if (message.eta !== undefined && message.eta - takenAt > MAX_AHEAD_MS) {
    const years = Math.round((message.eta - takenAt) / (365 * 86_400_000))
    throw new MessageError('EtaInvalid', `the header "eta" is ${years} years away; at most ten are accepted`)
  }
  if (message.eta !== undefined && message.eta > takenAt) return { kind: 'park', message, dueAt: message.eta }
  const task = tasks.get(message.task)
  if (!task) {
    const error = new Error(`no task named ${message.task} is registered in this worker`)
    error.name = 'NotRegistered'
    return { kind: 'bury', message, reason: 'NotRegistered', error }
  }
  // What follows must be known to be followable before anything runs: half a chain in silence would be heard of by nobody.
  if (hasAftermath(message)) checkAftermath(message)
  const redelivered =
    envelope.lostDeliveries > 0 || envelope.headers['redelivered'] === true || isRedelivered(envelope.properties)
  return { kind: 'run', message, task, redelivered, lostDeliveries: envelope.lostDeliveries }
}

function checkAftermath(message: TaskMessage): void {
  const newId = (): string => ''
  aftermathOf(message, { state: 'SUCCESS', value: null }, newId)
  aftermathOf(message, { state: 'FAILURE', value: null }, newId)
}

function isRedelivered(properties: Readonly<Record<string, unknown>>): boolean {
  const info = properties['delivery_info']
  return typeof info === 'object' && info !== null && Reflect.get(info, 'redelivered') === true
}
