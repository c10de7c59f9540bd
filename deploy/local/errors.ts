// What can go wrong with the local cluster, by code. Not for bugs: those keep their own class and their stack.

/** Codes of {@link LocalClusterError}. */
export type LocalClusterErrorCode =
  | 'SETTING_INVALID'
  | 'TOOL_MISSING'
  | 'NOT_ROOT'
  | 'COMMAND_FAILED'
  | 'COMPONENT_FAILED'
  | 'NETWORK_TAKEN'
  | 'LOCKED'
  | 'NOT_OURS'
  | 'UNSUPPORTED'
  | 'INTERRUPTED'

/** A failure that a person can act on: the message says what happened, with which value, and what to do. */
export class LocalClusterError extends Error {
  readonly code: LocalClusterErrorCode
  /** Log file of the component at fault, when there is one: its last lines belong in the report. */
  readonly log: string | undefined

  constructor(code: LocalClusterErrorCode, message: string, log?: string) {
    super(message)
    this.name = 'LocalClusterError'
    this.code = code
    this.log = log
  }
}
