// The coded errors of the runtime: what happened, with which value, and what to do. Not for control flow inside a task
// (see worker/retry.ts for that).

/** What every error of this package is: a stable `code` for programs, a message for people. */
export class TaskQueueError extends Error {
  /** Stable identifier, CamelCase. */
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}

/** A setting, an option or an argument that can't be used as it is. Exit code 2 on the command line. */
export class UsageError extends TaskQueueError {}

/** The broker can't be reached, or refused what was asked of it. URLs in the message are redacted. */
export class BrokerError extends TaskQueueError {
  declare readonly code: BrokerErrorCode

  // eslint-disable-next-line @typescript-eslint/no-useless-constructor -- it narrows the codes that may be given
  constructor(code: BrokerErrorCode, message: string, options?: ErrorOptions) {
    super(code, message, options)
  }
}

/**
 * `BrokerLoading`: Redis is still reading its data; `BrokerReadOnly`: a replica answered; `BrokerMoved`: another node of the cluster has
 * the keys now; `BrokerNotWritable`: it lacks replicas or its disk, or a script holds it up.
 */
export type BrokerErrorCode =
  | 'BrokerUrlInvalid'
  | 'BrokerUnreachable'
  | 'BrokerTimeout'
  | 'BrokerAuthFailed'
  | 'BrokerLoading'
  | 'BrokerReadOnly'
  | 'BrokerMoved'
  | 'BrokerOutOfMemory'
  | 'BrokerNotWritable'
  | 'BrokerTooOld'
  | 'BrokerRefused'

/** A message that can't be understood. It goes to the dead letters with `code` as its reason. */
export class MessageError extends TaskQueueError {
  declare readonly code: MessageErrorCode

  // eslint-disable-next-line @typescript-eslint/no-useless-constructor -- it narrows the codes that may be given
  constructor(code: MessageErrorCode, message: string, options?: ErrorOptions) {
    super(code, message, options)
  }
}

/** Why a message was refused by the decoder. */
export type MessageErrorCode =
  | 'NotJson'
  | 'NotAnEnvelope'
  | 'NotBase64'
  | 'BodyTooLarge'
  | 'UnknownBodyEncoding'
  | 'UnknownContentType'
  | 'UnknownContentEncoding'
  | 'UnknownCompression'
  | 'CompressionInvalid'
  | 'MissingHeader'
  | 'HeaderInvalid'
  | 'BodyInvalid'
  | 'EtaInvalid'
  | 'CanvasInvalid'

/** `result.get()` found that the task failed, was revoked, or that its result isn't stored. */
export class ResultError extends TaskQueueError {
  declare readonly code: 'TaskFailed' | 'TaskRevoked' | 'ResultTimeout' | 'ResultNotStored'
  /** The traceback of the failed attempt as the worker stored it, whatever its language. */
  readonly traceback: string | undefined

  constructor(
    code: 'TaskFailed' | 'TaskRevoked' | 'ResultTimeout' | 'ResultNotStored',
    message: string,
    traceback?: string,
  ) {
    super(code, message)
    this.traceback = traceback
  }
}

/** Anything thrown, as an Error: JavaScript lets a handler throw what it likes. */
export function asError(thrown: unknown): Error {
  if (thrown instanceof Error) return isOrderly(thrown) ? thrown : orderly(thrown)
  return new Error(typeof thrown === 'string' ? thrown : `a value that is no Error was thrown: ${describe(thrown)}`)
}

/** Fields of an error can be anything, such as a bigint, or throw when they are read. */
function isOrderly(error: Error): boolean {
  try {
    return (
      typeof error.message === 'string' && typeof error.name === 'string' && typeof (error.stack ?? '') === 'string'
    )
  } catch {
    return false
  }
}

function orderly(error: Error): Error {
  const field = (name: 'message' | 'name'): string => {
    try {
      const value: unknown = Reflect.get(error, name)
      return String(value)
    } catch {
      return `(its ${name} can't be read)`
    }
  }
  const copy = new Error(field('message'))
  copy.name = field('name')
  return copy
}

function describe(value: unknown): string {
  try {
    const json: unknown = JSON.stringify(value)
    // undefined, functions and symbols have no JSON.
    return typeof json === 'string' ? json : typeof value
  } catch {
    return Object.prototype.toString.call(value)
  }
}
