// The local cluster as a whole: brings it up in stages, takes it down, loads images. Each stage does only what is still to be done.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ensureBinary } from './binaries.ts'
import { makeCgroup } from './cgroups.ts'
import { run } from './command.ts'
import { containerdCommand, ctr } from './containerd.ts'
import * as controlPlane from './controlplane.ts'
import { clusterResolvConf, dnsObjects } from './dns.ts'
import { LocalClusterError } from './errors.ts'
import { buildImage, type Image } from './images.ts'
import { nodeCommands } from './kubelet.ts'
import { withLock } from './lockfile.ts'
import { Namespace } from './namespace.ts'
import { connectNetwork, writePodNetwork } from './network.ts'
import { ensurePackages, nodePackages } from './packages.ts'
import { CertificateAuthority } from './pki.ts'
import { waitUntil } from './processes.ts'
import { cacheFolder, type ClusterSettings } from './settings.ts'
import type { Stages } from './stage.ts'
import { clusterStatus, controlPlanePorts, daemons, daemonStatus, type Component, type DaemonName } from './status.ts'
import { claimFolder, leftovers, tearDown } from './teardown.ts'
import { volumeObjects } from './volumes.ts'

const recyclerUser = 'taskqueue-local:volume-recycler'

/** The cluster that is made on this machine, by root. */
export class LocalCluster {
  readonly #settings: ClusterSettings
  readonly #stages: Stages
  readonly #namespace: Namespace

  constructor(settings: ClusterSettings, stages: Stages) {
    this.#settings = settings
    this.#stages = stages
    this.#namespace = new Namespace(settings.folder)
  }

  get kubeconfig(): string {
    return this.#settings.kubeconfig
  }

  /**
   * Brings the cluster up; heals one that is up in part. Returns once every component is well.
   * @throws LocalClusterError with the log of the component at fault
   */
  async up(): Promise<void> {
    requireRoot()
    await this.#locked('cluster-up', async () => {
      if ((await this.status()).every(({ healthy }) => healthy)) {
        this.#stages.note('==> the cluster is up')
        return
      }
      const aptLog = join(cacheFolder(), 'logs', 'apt.log')
      mkdirSync(join(cacheFolder(), 'logs'), { recursive: true })
      await ensurePackages(nodePackages, this.#stages, aptLog)
      const binaries = await ensureBinary('cluster', this.#stages)
      await ensureBinary('helm', this.#stages)
      const images = await clusterImages(this.#stages)
      await this.#clearRemains()
      const server = `https://${this.#settings.addresses.node}:${this.#settings.apiPort}`
      await this.#open()
      await this.#startControlPlane(binaries)
      await this.#startNode(binaries, server, images.pause)
      await this.#equip(binaries, images)
    })
  }

  /** Takes the cluster down, from whatever state it is in. */
  async down(): Promise<void> {
    requireRoot()
    await this.#locked('cluster-down', () => this.#stages.run('cluster down', () => tearDown(this.#settings)))
  }

  /** How each component is. */
  status(): Promise<Component[]> {
    return clusterStatus(this.#settings, this.#namespace)
  }

  /**
   * Loads docker-archives into the node's containerd; those that are loaded already are skipped.
   * @throws LocalClusterError `COMMAND_FAILED`
   */
  async load(archives: readonly string[]): Promise<void> {
    requireRoot()
    const memory = join(this.#settings.folder, 'run', 'loaded.json')
    const loaded = existsSync(memory) ? (JSON.parse(readFileSync(memory, 'utf8')) as Record<string, string>) : {}
    const present = new Set((await ctr(this.#settings, this.#namespace, ['images', 'list', '--quiet'])).split('\n'))
    for (const archive of archives) {
      const digest = createHash('sha256').update(readFileSync(archive)).digest('hex')
      const names = await archiveNames(archive)
      if (names.every((name) => loaded[name] === digest && present.has(name))) continue
      await this.#stages.run(`load ${names.join(', ')}`, () =>
        ctr(this.#settings, this.#namespace, ['images', 'import', archive]),
      )
      for (const name of names) loaded[name] = digest
      writeFileSync(memory, JSON.stringify(loaded, null, 2))
    }
  }

  #locked(purpose: string, work: () => Promise<void>): Promise<void> {
    const onWait = (holder: { pid: number; name: string }) =>
      this.#stages.note(`==> waiting for process ${holder.pid} (${holder.name})`)
    return withLock(`/run/lock/${this.#settings.scope}.lock`, { purpose, waitSeconds: 1800, onWait }, work)
  }

  // What a crash left is kept only when its namespaces and its network are whole: then the daemons that are gone are started again.
  async #clearRemains(): Promise<void> {
    if (this.#namespace.first && existsSync(this.#path('run/network.ready'))) return
    if (await leftovers(this.#settings))
      await this.#stages.run('clear the remains of a cluster', () => tearDown(this.#settings))
  }

  async #open(): Promise<void> {
    if (this.#namespace.first) return
    claimFolder(this.#settings.folder)
    await this.#stages.run('namespaces and network', async () => {
      for (const folder of ['run', 'log', 'var-log', 'pod-logs', 'volumes'])
        mkdirSync(this.#path(folder), { recursive: true })
      writeFileSync(this.#path('resolv.conf'), clusterResolvConf())
      await loadKernelModules()
      makeCgroup(this.#settings.scope)
      await this.#namespace.open(join(await ensureBinary('pause', this.#stages), 'pause'))
      await connectNetwork(this.#settings, this.#namespace)
      writeFileSync(this.#path('run/network.ready'), '')
    })
  }

  async #startControlPlane(binaries: string): Promise<void> {
    await this.#stages.run('control plane: etcd, API server, controllers, scheduler', async () => {
      const plan = this.#plan()
      const files = await controlPlane.prepareControlPlane(plan, 'taskqueue-local')
      await this.#launch('etcd', binaries, controlPlane.etcdCommand(plan, files))
      await this.#launch('kube-apiserver', binaries, controlPlane.apiServerCommand(plan, files))
      await this.#healthy('kube-apiserver')
      await this.#launch('kube-controller-manager', binaries, controlPlane.controllerManagerCommand(plan, files))
      await this.#launch('kube-scheduler', binaries, controlPlane.schedulerCommand(plan, files))
      await this.#healthy('kube-controller-manager')
      await this.#healthy('kube-scheduler')
    })
  }

  #plan(): controlPlane.ControlPlanePlan {
    const { folder, addresses, apiPort } = this.#settings
    return {
      folder,
      address: addresses.node,
      apiPort,
      etcdPort: controlPlanePorts.etcd,
      etcdPeerPort: controlPlanePorts.etcdPeer,
      controllerManagerPort: controlPlanePorts.controllerManager,
      schedulerPort: controlPlanePorts.scheduler,
      serviceRange: addresses.services,
      alternativeNames: [`IP:${addresses.apiService}`],
      unauditedUsers: [...controlPlane.clusterUsers, recyclerUser],
    }
  }

  async #startNode(binaries: string, server: string, pause: Image): Promise<void> {
    await this.#stages.run('node: containerd, kubelet, kube-proxy', async () => {
      const podNetwork = writePodNetwork(this.#settings)
      await this.#launch('containerd', undefined, containerdCommand(this.#settings, podNetwork, pause.reference))
      await this.#healthy('containerd')
      await this.load([pause.archive])
      const commands = await nodeCommands(this.#settings, server)
      await this.#launch('kubelet', binaries, commands.kubelet)
      await this.#launch('kube-proxy', binaries, commands.proxy)
      await this.#healthy('kubelet')
      await this.#healthy('kube-proxy')
    })
  }

  async #equip(binaries: string, images: { coredns: Image }): Promise<void> {
    await this.#stages.run('DNS and volumes', async () => {
      await this.load([images.coredns.archive])
      const upstream = /^nameserver/m.test(readFileSync(this.#path('resolv.conf'), 'utf8'))
      const objects = [
        ...dnsObjects(this.#settings, images.coredns.reference, upstream),
        ...volumeObjects(recyclerUser),
      ]
      const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects })
      const apply = ['apply', '--server-side', '--force-conflicts', '--field-manager=taskqueue-local', '-f', '-']
      await run(join(binaries, 'kubectl'), ['--kubeconfig', this.kubeconfig, ...apply], { input: list })
      await this.#startRecycler()
      await this.#allHealthy()
    })
  }

  async #startRecycler(): Promise<void> {
    const { folder, nodeName, volumes, addresses, apiPort } = this.#settings
    const pki = await CertificateAuthority.open(join(folder, 'pki'))
    await pki.issue({ name: 'recycler', commonName: recyclerUser })
    const server = `https://${addresses.node}:${apiPort}`
    const program = [
      process.execPath,
      '--max-semi-space-size=1',
      '--max-old-space-size=32',
      join(import.meta.dirname, 'recycler.ts'),
    ]
    await this.#namespace.launch({
      name: 'volume-recycler',
      command: [...program, server, pki.folder, join(folder, 'volumes'), nodeName, String(volumes)],
    })
  }

  async #launch(name: DaemonName, binaries: string | undefined, command: readonly string[]): Promise<void> {
    const [program = '', ...rest] = command
    await this.#namespace.launch({
      name,
      command: [binaries === undefined ? program : join(binaries, program), ...rest],
    })
  }

  async #healthy(name: DaemonName): Promise<void> {
    let seen: Component | undefined
    const healthy = await waitUntil(
      async () => {
        seen = await daemonStatus(this.#settings, this.#namespace, name)
        return seen.healthy || !this.#namespace.daemon(name)
      },
      90,
      0.1,
    )
    if (healthy && seen?.healthy) return
    throw new LocalClusterError(
      'COMPONENT_FAILED',
      `${name} is not well: ${seen?.detail ?? 'no answer'}.`,
      this.#namespace.log(name),
    )
  }

  async #allHealthy(): Promise<void> {
    let seen: Component[] = []
    const healthy = await waitUntil(
      async () => {
        seen = await this.status()
        return seen.every((component) => component.healthy)
      },
      120,
      0.25,
    )
    if (healthy) return
    const sick = seen.filter((component) => !component.healthy)
    const daemon = daemons.find((name) => sick.some((component) => component.name === name)) ?? 'kubelet'
    const said = sick.map(({ name, detail }) => `${name}: ${detail}`).join('; ')
    throw new LocalClusterError('COMPONENT_FAILED', `Not well after 120 s: ${said}.`, this.#namespace.log(daemon))
  }

  #path(name: string): string {
    return join(this.#settings.folder, name)
  }
}

async function clusterImages(stages: Stages): Promise<{ pause: Image; coredns: Image }> {
  const image = async (name: 'pause' | 'coredns') =>
    buildImage(
      {
        name,
        dockerfile: join(import.meta.dirname, 'images', `${name}.Dockerfile`),
        context: await ensureBinary(name, stages),
        include: [name],
      },
      stages,
    )
  return { pause: await image('pause'), coredns: await image('coredns') }
}

// A kernel that has them built in has no modules to load, and says so by an error that means nothing.
async function loadKernelModules(): Promise<void> {
  for (const name of ['overlay', 'br_netfilter', 'veth', 'nf_tables']) {
    if (!existsSync(`/sys/module/${name}`) && existsSync('/lib/modules'))
      await run('sh', ['-c', `modprobe ${name} 2>/dev/null || true`])
  }
}

async function archiveNames(archive: string): Promise<string[]> {
  const manifest = JSON.parse(await run('tar', ['-xOf', archive, 'manifest.json'])) as { RepoTags?: string[] | null }[]
  const names = manifest.flatMap(({ RepoTags }) => RepoTags ?? []).map(fullImageName)
  if (names.length > 0) return names
  throw new LocalClusterError('UNSUPPORTED', `${archive} names no image. Save it with a name and a tag.`)
}

/** The name by which containerd knows an image: with registry and, for Docker Hub, the library. */
export function fullImageName(name: string): string {
  const [first = '', ...rest] = name.split('/')
  if (rest.length > 0 && (/[.:]/.test(first) || first === 'localhost')) return name
  return rest.length > 0 ? `docker.io/${name}` : `docker.io/library/${name}`
}

function requireRoot(): void {
  if (process.getuid?.() === 0) return
  throw new LocalClusterError(
    'NOT_ROOT',
    'The local cluster needs root. Run it with sudo, or choose CLUSTER=kind or CLUSTER=current.',
  )
}
