// A door to the cluster's API server on this machine's loopback, with kubectl's own rights, for a program that has none.

import { spawn, type ChildProcess } from 'node:child_process'
import type { Kubectl } from '../../deploy/demo/kubectl.ts'
import { tied } from '../../deploy/local/command.ts'

export class ApiProxy {
  /** Such as 127.0.0.1:40123. */
  readonly address: string
  readonly #child: ChildProcess

  private constructor(address: string, child: ChildProcess) {
    this.address = address
    this.#child = child
  }

  static async open(kubectl: Kubectl): Promise<ApiProxy> {
    const [program, ...args] = tied('kubectl', ['proxy', '--port=0'])
    const child = spawn(program, args, { env: kubectl.env, stdio: ['ignore', 'pipe', 'pipe'] })
    const address = await new Promise<string>((resolve, reject) => {
      let said = ''
      const hear = (chunk: Buffer): void => {
        said += chunk.toString('utf8')
        const found = /Starting to serve on (\S+)/.exec(said)
        if (found) resolve(found[1] ?? '')
      }
      child.stdout.on('data', hear)
      child.stderr.on('data', hear)
      child.once('error', reject)
      child.once('exit', () => reject(new Error(`kubectl proxy ended: ${said.trim()}`)))
    })
    return new ApiProxy(address, child)
  }

  close(): void {
    this.#child.kill('SIGTERM')
  }
}
