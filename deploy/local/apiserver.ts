// An API server on its own, for tests: etcd and kube-apiserver (and the controllers, if wanted) on free loopback ports, in a folder
// of the caller's, as any user. There are no nodes: pods stay Pending. Several can run at once.
import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, mkdirSync, openSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { ensureBinary } from './binaries.ts'
import { tied } from './command.ts'
import {
  apiServerCommand,
  clusterUsers,
  controllerManagerCommand,
  etcdCommand,
  prepareControlPlane,
  type ControlPlaneFiles,
  type ControlPlanePlan,
} from './controlplane.ts'
import { ask, freePorts } from './endpoint.ts'
import { LocalClusterError } from './errors.ts'
import { apiServerPackages, ensurePackages } from './packages.ts'
import { waitUntil } from './processes.ts'
import { describeFailure, Stages, tail } from './stage.ts'

/** What to start. */
export interface ApiServerOptions {
  /** Folder for its files; made when missing, and left to the caller afterwards. Logs are in `log/`. */
  readonly folder: string
  /**
   * Also run kube-controller-manager: garbage collection, service accounts, ReplicaSets of Deployments, namespaces that can be deleted.
   * Without it a pod needs no service account to be created, because nobody makes service accounts.
   */
  readonly controllerManager?: boolean
  /** Takes progress lines of a first build; standard error when left out. */
  readonly say?: (line: string) => void
}

/** A running API server. */
export interface ApiServer {
  /** Path of a kubeconfig with every right. */
  readonly kubeconfig: string
  readonly url: string
  readonly folder: string
  /** Path of kubectl in the server's own version. */
  readonly kubectl: string
  /** Path of the audit log: one JSON event a line, metadata of every finished request but the cluster's own. */
  readonly auditLog: string
  /** Kills kube-apiserver alone, as an outage would. Stored objects stay. */
  halt(): Promise<void>
  /** Starts kube-apiserver again after {@link halt}, on the same port, and waits until it is ready. */
  resume(): Promise<void>
  /** Ends everything and deletes the stored objects; logs stay. */
  stop(): Promise<void>
}

/**
 * Starts an API server and waits until it is ready. Its processes die with the calling thread, however that ends.
 * @throws LocalClusterError `COMPONENT_FAILED` with the log of what did not start; `TOOL_MISSING` without Go or openssl
 */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const stages = new Stages(options.say ?? ((line) => process.stderr.write(`${line}\n`)))
  mkdirSync(join(options.folder, 'log'), { recursive: true })
  await ensurePackages(apiServerPackages, stages, join(options.folder, 'log', 'apt.log'))
  const binaries = await ensureBinary('cluster', stages)
  // A free port may be taken by another process before it is used; then all of it is tried again on others.
  for (let attempt = 1; ; attempt += 1) {
    const server = new LoneApiServer(options, binaries, await plan(options.folder))
    try {
      await server.start()
      return server
    } catch (error) {
      await server.stop()
      if (attempt === 3 || !describeFailure(error).includes('address already in use')) throw error
    }
  }
}

async function plan(folder: string): Promise<ControlPlanePlan> {
  const [apiPort, etcdPort, etcdPeerPort, controllerManagerPort] = await freePorts(4)
  if (!apiPort || !etcdPort || !etcdPeerPort || !controllerManagerPort) throw new Error('fewer ports than asked for')
  return {
    folder,
    address: '127.0.0.1',
    apiPort,
    etcdPort,
    etcdPeerPort,
    controllerManagerPort,
    schedulerPort: 0,
    serviceRange: '10.0.0.0/24',
    alternativeNames: ['IP:10.0.0.1'],
    unauditedUsers: clusterUsers,
  }
}

class LoneApiServer implements ApiServer {
  readonly #options: ApiServerOptions
  readonly #binaries: string
  readonly #plan: ControlPlanePlan
  readonly #daemons = new Map<string, ChildProcess>()
  #files: ControlPlaneFiles | undefined

  constructor(options: ApiServerOptions, binaries: string, controlPlane: ControlPlanePlan) {
    this.#options = options
    this.#binaries = binaries
    this.#plan = controlPlane
  }

  get folder(): string {
    return this.#options.folder
  }

  get url(): string {
    return `https://127.0.0.1:${this.#plan.apiPort}`
  }

  get kubeconfig(): string {
    return this.files.adminKubeconfig
  }

  get auditLog(): string {
    return this.files.auditLog
  }

  get kubectl(): string {
    return join(this.#binaries, 'kubectl')
  }

  private get files(): ControlPlaneFiles {
    if (!this.#files) throw new Error('the API server was not started')
    return this.#files
  }

  async start(): Promise<void> {
    rmSync(join(this.folder, 'etcd'), { recursive: true, force: true })
    const prepared = await prepareControlPlane(this.#plan, 'api-server')
    this.#files = prepared
    this.#launch('etcd', etcdCommand(this.#plan, prepared))
    await this.resume()
    if (!this.#options.controllerManager) return
    this.#launch('kube-controller-manager', controllerManagerCommand(this.#plan, prepared))
    await this.#ready('kube-controller-manager', `https://127.0.0.1:${this.#plan.controllerManagerPort}/healthz`)
    const account = `${this.url}/api/v1/namespaces/default/serviceaccounts/default`
    await this.#ready('kube-controller-manager', account)
  }

  async halt(): Promise<void> {
    await this.#end('kube-apiserver')
  }

  async resume(): Promise<void> {
    const command = apiServerCommand(this.#plan, this.files)
    if (!this.#options.controllerManager) command.push('--disable-admission-plugins=ServiceAccount')
    this.#launch('kube-apiserver', command)
    await this.#ready('kube-apiserver', `${this.url}/readyz`)
  }

  async stop(): Promise<void> {
    for (const name of ['kube-controller-manager', 'kube-apiserver', 'etcd']) await this.#end(name)
    rmSync(join(this.folder, 'etcd'), { recursive: true, force: true })
  }

  #log(name: string): string {
    return join(this.folder, 'log', `${name}.log`)
  }

  #launch(name: string, command: readonly string[]): void {
    const log = openSync(this.#log(name), 'a')
    const [program, ...rest] = tied(join(this.#binaries, name), command.slice(1))
    const child = spawn(program, rest, { stdio: ['ignore', log, log], cwd: this.folder })
    closeSync(log)
    this.#daemons.set(name, child)
    // A daemon that could not be started shows itself as one that is gone.
    child.on('error', () => this.#daemons.delete(name))
  }

  async #ready(name: string, url: string): Promise<void> {
    const { authority, apiServerClient } = this.files
    const trusted = url.startsWith(this.url) ? { authority, client: apiServerClient } : {}
    let answer = { status: 0, body: '' }
    const ready = await waitUntil(
      async () => {
        answer = await ask(url, trusted)
        return answer.status === 200 || this.#gone(name)
      },
      60,
      0.1,
    )
    if (ready && !this.#gone(name)) return
    const what = this.#gone(name)
      ? 'ended while it was being started'
      : `is not ready after 60 s (${url}: ${answer.body.slice(0, 200)})`
    throw new LocalClusterError('COMPONENT_FAILED', `${name} ${what}. ${tail(this.#log(name), 600)}`, this.#log(name))
  }

  #gone(name: string): boolean {
    const child = this.#daemons.get(name)
    return child === undefined || child.exitCode !== null || child.signalCode !== null
  }

  async #end(name: string): Promise<void> {
    const child = this.#daemons.get(name)
    if (!child || this.#gone(name)) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    // Nothing it holds is worth a graceful end, which would wait for open watches.
    child.kill('SIGKILL')
    await ended
    this.#daemons.delete(name)
  }
}
