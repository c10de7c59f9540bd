// The command line of the cluster that demo and tests run on: up, down, status, env, load. `make cluster-up` and its like call it.
import { existsSync } from 'node:fs'
import { ensureBinary, toolFolders } from './binaries.ts'
import { endRunningCommands } from './command.ts'
import { CurrentCluster } from './current.ts'
import { LocalClusterError } from './errors.ts'
import { KindCluster } from './kind.ts'
import { LocalCluster } from './local.ts'
import { clusterKind, clusterSettings } from './settings.ts'
import { describeFailure, Stages } from './stage.ts'
import { renderStatus, type Component } from './status.ts'

/** What can be done with a cluster, whoever made it. */
export interface Cluster {
  /** Path of the kubeconfig that leads to it. */
  readonly kubeconfig: string
  up(): Promise<void>
  down(): Promise<void>
  status(): Promise<Component[]>
  /** Makes the images in these docker-archives known to the cluster's nodes. */
  load(archives: readonly string[]): Promise<void>
}

/** The cluster that the environment's CLUSTER names. */
export async function openCluster(stages: Stages): Promise<Cluster> {
  switch (clusterKind()) {
    case 'local':
      return new LocalCluster(clusterSettings(), stages)
    case 'kind':
      return new KindCluster(stages)
    case 'current':
      return new CurrentCluster(`${await ensureBinary('cluster', stages)}/kubectl`, stages)
  }
}

/** Environment variables with which kubectl and helm reach the cluster. */
export async function clusterEnvironment(
  cluster: Cluster,
  stages: Stages,
): Promise<{ KUBECONFIG: string; PATH: string }> {
  const tools = await toolFolders(stages)
  return { KUBECONFIG: cluster.kubeconfig, PATH: `${tools.kubernetes}:${tools.helm}:${process.env.PATH ?? ''}` }
}

const usage = `Usage: node deploy/local/cluster.ts COMMAND
  up                  bring the cluster up, or heal it; the last line is the kubeconfig's path
  down                take it down and leave nothing behind
  status              show each component; exit 1 unless all are well
  env                 print exports of KUBECONFIG and PATH (kubectl, helm) for a shell
  load ARCHIVE...     load docker-archives into the cluster
CLUSTER=local (default), kind or current says which cluster. docs/local-cluster.md tells the rest.`

async function main(command: string | undefined, rest: readonly string[]): Promise<number> {
  // Progress of `env` must not end up in the shell that evaluates its output.
  const stages = new Stages((line) => (command === 'env' ? process.stderr : process.stdout).write(`${line}\n`))
  switch (command) {
    case 'up': {
      const cluster = await openCluster(stages)
      await cluster.up()
      stages.note('    To use it: eval "$(make -s cluster-env)" and then kubectl get pods -A')
      stages.note('    To end it: make cluster-down')
      process.stdout.write(`${cluster.kubeconfig}\n`)
      return 0
    }
    case 'down':
      await (await openCluster(stages)).down()
      return 0
    case 'status': {
      const components = await (await openCluster(stages)).status()
      process.stdout.write(`${renderStatus(components)}\n`)
      return components.every(({ healthy }) => healthy) ? 0 : 1
    }
    case 'env': {
      const { KUBECONFIG, PATH } = await clusterEnvironment(await openCluster(stages), stages)
      process.stdout.write(`export KUBECONFIG=${quote(KUBECONFIG)}\nexport PATH=${quote(PATH)}\n`)
      return 0
    }
    case 'load': {
      const missing = rest.filter((archive) => !existsSync(archive))
      if (rest.length === 0 || missing.length > 0) {
        throw new LocalClusterError(
          'SETTING_INVALID',
          `load takes docker-archives; not there: ${missing.join(', ') || 'any'}`,
        )
      }
      await (await openCluster(stages)).load(rest)
      return 0
    }
    case undefined:
    default:
      process.stderr.write(`${usage}\n`)
      return 2
  }
}

function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`
}

function onInterrupt(signal: NodeJS.Signals): void {
  endRunningCommands()
  process.stderr.write(
    `Interrupted (${signal}). The same command takes it up again; make cluster-down removes what there is.\n`,
  )
  process.exit(130)
}

if (import.meta.main) {
  process.on('SIGINT', onInterrupt)
  process.on('SIGTERM', onInterrupt)
  main(process.argv[2], process.argv.slice(3)).then(
    (status) => (process.exitCode = status),
    (error: unknown) => {
      process.stderr.write(`${describeFailure(error)}\n`)
      process.exitCode = 1
    },
  )
}
