// What goes wrong here, with a code: kubectl refused something, or a TaskQueue has no pod that could answer.

export type PluginErrorCode = 'KubectlFailed' | 'KubectlMissing' | 'NothingRuns' | 'TimedOut' | 'WrongUse'

export class PluginError extends Error {
  readonly code: PluginErrorCode

  constructor(code: PluginErrorCode, message: string) {
    super(message)
    this.name = 'PluginError'
    this.code = code
  }
}
