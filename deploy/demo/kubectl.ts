// kubectl and helm against one cluster. Not a client library: what it runs is what a person could type.

import { attempt, run, type CommandResult } from '../local/command.ts'

/** KUBECONFIG and a PATH on which kubectl and helm are found. */
export type ClusterEnvironment = Readonly<Record<string, string | undefined>>

export class Kubectl {
  readonly env: ClusterEnvironment

  constructor(env: ClusterEnvironment) {
    this.env = { ...process.env, ...env }
  }

  /** Standard output. @throws LocalClusterError `COMMAND_FAILED` with what kubectl said */
  async run(...args: string[]): Promise<string> {
    return run('kubectl', args, { env: this.env, timeoutSeconds: 60 })
  }

  /** For commands that wait: they get so many seconds by their own --timeout, and some more to say that it is over. */
  async wait(seconds: number, ...args: string[]): Promise<string> {
    return run('kubectl', [...args, `--timeout=${seconds}s`], { env: this.env, timeoutSeconds: seconds + 15 })
  }

  /** Also when it fails. */
  async attempt(...args: string[]): Promise<CommandResult> {
    return attempt('kubectl', args, { env: this.env, timeoutSeconds: 60 })
  }

  async apply(manifest: string): Promise<string> {
    return run('kubectl', ['apply', '-f', '-'], { env: this.env, input: manifest, timeoutSeconds: 60 })
  }

  /** Creates an object at a path of the API that no resource of kubectl's names, such as an eviction. */
  async post(path: string, object: string): Promise<string> {
    return run('kubectl', ['create', '--raw', path, '-f', '-'], { env: this.env, input: object, timeoutSeconds: 60 })
  }

  async json<T>(...args: string[]): Promise<T> {
    return JSON.parse(await this.run(...args, '--output=json')) as T
  }

  async helm(...args: string[]): Promise<string> {
    return run('helm', args, { env: this.env, timeoutSeconds: 300 })
  }
}
