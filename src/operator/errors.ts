// The operator's coded errors: what happened, with which value, and what to do. Not for conditions, which are in status.ts.

/** A code is stable: alerts and tests may match it; the message may improve. */
export type OperatorErrorCode = 'SettingInvalid' | 'ApiRequestFailed' | 'ApiUnreachable'

/** Base of every error that the operator throws. */
export class OperatorError extends Error {
  readonly code: OperatorErrorCode

  constructor(code: OperatorErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}

/** What the API server said to a request that it refused. */
export class ApiError extends OperatorError {
  readonly status: number
  /** The reason of the Status object, such as `NotFound`, `Conflict`, `Invalid`, `Forbidden`. */
  readonly reason: string
  /** What the API server says in words. */
  readonly explanation: string
  /** Seconds to wait as asked by the server, when it did (429 and 503). */
  readonly retryAfterSeconds: number | undefined

  constructor(request: string, status: number, reason: string, explanation: string, retryAfterSeconds?: number) {
    super('ApiRequestFailed', `${request} was refused with ${status} ${reason}: ${explanation}`)
    this.status = status
    this.reason = reason
    this.explanation = explanation
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/** True for the API server's answer that there is no such object. */
export function isNotFound(error: unknown): boolean {
  return error instanceof ApiError && error.status === 404
}

/** True when the object changed, or exists already, since it was read: read again and go on. */
export function isConflict(error: unknown): boolean {
  return error instanceof ApiError && error.status === 409
}

/**
 * The paths of fields that the schema of the server lacks, as its answer to a server-side apply names them: `.status.patrol`. Empty for every
 * other error.
 */
export function undeclaredFields(error: unknown): string[] {
  if (!(error instanceof ApiError)) return []
  return [...error.explanation.matchAll(/(\.[^:\s,]+): field not declared in schema/g)].map(([, path]) => path ?? '')
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
