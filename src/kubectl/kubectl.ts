// kubectl itself, as the person who calls the plugin would use it: the same context, the same rights. Nothing here knows another way to the
// API server.

import { spawn } from 'node:child_process'
import { PluginError } from './errors.ts'

/** Which cluster and namespace, as kubectl's own flags say it. */
export interface Place {
  readonly namespace?: string | undefined
  readonly context?: string | undefined
  readonly kubeconfig?: string | undefined
}

export class Kubectl {
  readonly #flags: readonly string[]

  constructor({ namespace, context, kubeconfig }: Place) {
    this.#flags = [
      ...(namespace === undefined ? [] : ['--namespace', namespace]),
      ...(context === undefined ? [] : ['--context', context]),
      ...(kubeconfig === undefined ? [] : ['--kubeconfig', kubeconfig]),
    ]
  }

  /** What it prints. @throws PluginError `KubectlFailed` with what kubectl said, `KubectlMissing` */
  async read(...args: string[]): Promise<string> {
    const { code, out, err } = await this.#run(args, 'pipe')
    if (code !== 0) throw new PluginError('KubectlFailed', err.trim() || `kubectl ended with ${code}`)
    return out
  }

  async json<T>(...args: string[]): Promise<T> {
    return JSON.parse(await this.read(...args, '--output=json')) as T
  }

  /** Lets it talk to the terminal itself. @returns its exit code */
  async hand(...args: string[]): Promise<number> {
    return (await this.#run(args, 'inherit')).code
  }

  #run(args: readonly string[], how: 'pipe' | 'inherit'): Promise<{ code: number; out: string; err: string }> {
    return new Promise((resolve, reject) => {
      const child = spawn('kubectl', [...this.#flags, ...args], { stdio: ['inherit', how, how] })
      let [out, err] = ['', '']
      child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')))
      child.stderr?.on('data', (chunk: Buffer) => (err += chunk.toString('utf8')))
      child.once('error', (error) =>
        reject(new PluginError('KubectlMissing', `kubectl could not be started: ${error.message}`)),
      )
      child.once('close', (code) => resolve({ code: code ?? 1, out, err }))
    })
  }
}
