// CLUSTER=kind: a cluster by kind and Docker, where they are. Untested by this project's own checks, which have no registry.
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { attempt, run } from './command.ts'
import { LocalClusterError } from './errors.ts'
import { cacheFolder } from './settings.ts'
import type { Stages } from './stage.ts'
import type { Component } from './status.ts'

const name = 'taskqueue'

/** The kind cluster named `taskqueue`; its kubeconfig is kept apart from the user's own. */
export class KindCluster {
  readonly kubeconfig = join(cacheFolder(), 'kind', 'kubeconfig')
  readonly #stages: Stages

  constructor(stages: Stages) {
    this.#stages = stages
  }

  /**
   * Makes the cluster unless it is there.
   * @throws LocalClusterError `TOOL_MISSING` naming the command that brings what is missing
   */
  async up(): Promise<void> {
    await requireTools()
    mkdirSync(join(cacheFolder(), 'kind'), { recursive: true })
    if (await exists()) await run('kind', ['export', 'kubeconfig', '--name', name, '--kubeconfig', this.kubeconfig])
    else {
      const args = ['create', 'cluster', '--name', name, '--kubeconfig', this.kubeconfig, '--wait', '180s']
      await this.#stages.run('kind cluster', () => run('kind', args))
    }
  }

  /** Deletes the cluster. */
  async down(): Promise<void> {
    await requireTools()
    await this.#stages.run('kind cluster down', () =>
      run('kind', ['delete', 'cluster', '--name', name, '--kubeconfig', this.kubeconfig]),
    )
  }

  /** Whether kind knows the cluster and its API server is ready. */
  async status(): Promise<Component[]> {
    await requireTools()
    const there = await exists()
    const known: Component = { name: 'kind', healthy: there, detail: there ? `cluster ${name}` : `no cluster ${name}` }
    if (!there || !existsSync(this.kubeconfig)) return [known]
    const answer = await attempt('kubectl', ['--kubeconfig', this.kubeconfig, 'get', '--raw', '/readyz'])
    return [
      known,
      { name: 'kube-apiserver', healthy: answer.status === 0, detail: (answer.stdout || answer.stderr).trim() },
    ]
  }

  /** Loads docker-archives into the cluster's node. */
  async load(archives: readonly string[]): Promise<void> {
    for (const archive of archives) {
      await this.#stages.run(`load ${archive}`, () => run('kind', ['load', 'image-archive', archive, '--name', name]))
    }
  }
}

async function exists(): Promise<boolean> {
  return (await run('kind', ['get', 'clusters'])).split('\n').includes(name)
}

async function requireTools(): Promise<void> {
  const wanted = [
    { command: 'docker', version: ['info'], bring: 'apt-get install docker.io (and start its daemon)' },
    {
      command: 'kind',
      version: ['version'],
      bring: 'go install sigs.k8s.io/kind@latest (and put $(go env GOPATH)/bin on the PATH)',
    },
  ]
  for (const { command, version, bring } of wanted) {
    const answer = await attempt(command, version).catch(() => undefined)
    if (answer?.status !== 0)
      throw new LocalClusterError(
        'TOOL_MISSING',
        `CLUSTER=kind needs ${command}, which does not work here. Run: ${bring}`,
      )
  }
}
