// CLUSTER=current: the cluster of the user's current kubectl context. It is looked at, never made and never destroyed.
import { homedir } from 'node:os'
import { join } from 'node:path'
import { attempt, run } from './command.ts'
import { LocalClusterError } from './errors.ts'
import type { Stages } from './stage.ts'
import type { Component } from './status.ts'

/** The cluster that kubectl is set to. */
export class CurrentCluster {
  readonly kubeconfig = process.env.KUBECONFIG ?? join(homedir(), '.kube', 'config')
  readonly #kubectl: string
  readonly #stages: Stages

  /** @param kubectl path of a kubectl */
  constructor(kubectl: string, stages: Stages) {
    this.#kubectl = kubectl
    this.#stages = stages
  }

  /**
   * Says which cluster it is, and checks that it answers.
   * @throws LocalClusterError `UNSUPPORTED` without a current context; `COMPONENT_FAILED` when the cluster does not answer
   */
  async up(): Promise<void> {
    await this.#announce()
    const [api] = await this.status()
    if (!api?.healthy)
      throw new LocalClusterError('COMPONENT_FAILED', `The cluster does not answer: ${api?.detail ?? ''}`)
  }

  /** @throws LocalClusterError `NOT_OURS`, always */
  async down(): Promise<void> {
    const context = await this.#announce()
    throw new LocalClusterError(
      'NOT_OURS',
      `The cluster of context ${context} was not made here, so it is not destroyed here.`,
    )
  }

  /** Whether its API server is ready. */
  async status(): Promise<Component[]> {
    const answer = await attempt(this.#kubectl, ['get', '--raw', '/readyz', '--request-timeout=10s'])
    return [{ name: 'kube-apiserver', healthy: answer.status === 0, detail: (answer.stdout || answer.stderr).trim() }]
  }

  /** @throws LocalClusterError `UNSUPPORTED`, always: this project can't know how images get there */
  load(archives: readonly string[]): Promise<void> {
    const reason =
      `${archives.length} images can't be loaded into the current cluster. Set TASKQUEUE_REGISTRY to a registry that it pulls ` +
      'from and that you may push to, e.g. TASKQUEUE_REGISTRY=registry.example/team, and they are pushed there.'
    return Promise.reject(new LocalClusterError('UNSUPPORTED', reason))
  }

  async #announce(): Promise<string> {
    const context = await attempt(this.#kubectl, ['config', 'current-context'])
    if (context.status !== 0) {
      throw new LocalClusterError(
        'UNSUPPORTED',
        'CLUSTER=current, but kubectl has no current context. Run: kubectl config use-context NAME',
      )
    }
    const server = await run(this.#kubectl, [
      'config',
      'view',
      '--minify',
      '-o',
      'jsonpath={.clusters[0].cluster.server}',
    ])
    this.#stages.note(`==> CLUSTER=current: context ${context.stdout.trim()}, server ${server}`)
    return context.stdout.trim()
  }
}
