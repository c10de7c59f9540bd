// A way from this machine to a Service in the cluster, through the API server, for as long as it is needed. It ends with the
// process that opened it, however that ends.

import { spawn, type ChildProcess } from 'node:child_process'
import { tied } from '../local/command.ts'
import type { Kubectl } from './kubectl.ts'

export class PortForward {
  readonly port: number
  readonly #child: ChildProcess

  private constructor(port: number, child: ChildProcess) {
    this.port = port
    this.#child = child
  }

  /** Opens it on a free port. Rejects with what kubectl said when it can't. */
  static async open(kubectl: Kubectl, namespace: string, target: string, port: number): Promise<PortForward> {
    const [program, ...args] = tied('kubectl', ['--namespace', namespace, 'port-forward', target, `:${port}`])
    const child = spawn(program, args, { env: kubectl.env, stdio: ['ignore', 'pipe', 'pipe'] })
    const local = await new Promise<number>((resolve, reject) => {
      let said = ''
      const hear = (chunk: Buffer): void => {
        said += chunk.toString('utf8')
        const found = /Forwarding from 127\.0\.0\.1:(\d+)/.exec(said)
        if (found) resolve(Number(found[1]))
      }
      child.stdout.on('data', hear)
      child.stderr.on('data', hear)
      child.once('error', reject)
      child.once('exit', () => reject(new Error(`kubectl port-forward ${target} ended: ${said.trim()}`)))
    })
    return new PortForward(local, child)
  }

  close(): void {
    this.#child.kill('SIGTERM')
  }
}
