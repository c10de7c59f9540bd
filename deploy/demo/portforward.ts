// A way from this machine to a Service in the cluster, through the API server, for as long as it is needed. It ends with the
// process that opened it, however that ends.

import type { ChildProcess } from 'node:child_process'
import { startKubectl } from './background.ts'
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
    const args = ['--namespace', namespace, 'port-forward', target, `:${port}`]
    const { child, found } = await startKubectl(kubectl, args, /Forwarding from 127\.0\.0\.1:(\d+)/)
    return new PortForward(Number(found), child)
  }

  close(): void {
    this.#child.kill('SIGTERM')
  }
}
