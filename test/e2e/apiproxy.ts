// A door to the cluster's API server on this machine's loopback, with kubectl's own rights, for a program that has none.

import type { ChildProcess } from 'node:child_process'
import { startKubectl } from '../../deploy/demo/background.ts'
import type { Kubectl } from '../../deploy/demo/kubectl.ts'

export class ApiProxy {
  /** Such as 127.0.0.1:40123. */
  readonly address: string
  readonly #child: ChildProcess

  private constructor(address: string, child: ChildProcess) {
    this.address = address
    this.#child = child
  }

  static async open(kubectl: Kubectl): Promise<ApiProxy> {
    const { child, found } = await startKubectl(kubectl, ['proxy', '--port=0'], /Starting to serve on (\S+)\s/)
    return new ApiProxy(found, child)
  }

  close(): void {
    this.#child.kill('SIGTERM')
  }
}
