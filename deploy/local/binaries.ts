// The binaries that are built from Go modules, in a cache outside the checkout, keyed by sources, flags and toolchain.
// A build is published by one rename; a lock keeps two builds of one binary from racing.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { totalmem } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { attempt, run } from './command.ts'
import { LocalClusterError } from './errors.ts'
import { withLock } from './lockfile.ts'
import { cacheFolder, versions } from './settings.ts'
import type { Stages } from './stage.ts'

/** Names of the Go modules below `binaries/`. */
export type BinaryName = 'cluster' | 'coredns' | 'helm' | 'pause' | 'toxiproxy'

interface Recipe {
  /** What is built: a folder of the module or a package path. */
  readonly target: string
  readonly output: string
  /** Further names of a multi-call binary. */
  readonly links: readonly string[]
  readonly ldflags: string
  /** For the progress line. */
  readonly about: string
}

const [major, minor] = versions.kubernetes.split('.')
const kubernetesVersion = ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version']
  .flatMap((path) => [
    `-X ${path}.gitVersion=v${versions.kubernetes}`,
    `-X ${path}.gitMajor=${major ?? ''}`,
    `-X ${path}.gitMinor=${minor ?? ''}`,
    `-X ${path}.gitTreeState=clean`,
  ])
  .join(' ')

const recipes: Readonly<Record<BinaryName, Recipe>> = {
  cluster: {
    target: '.',
    output: 'kubernetes',
    links: ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubelet', 'kube-proxy', 'kubectl'],
    ldflags: `-s -w ${kubernetesVersion}`,
    about: `Kubernetes ${versions.kubernetes} and etcd ${versions.etcd} from source (5 to 10 minutes on two cores, once)`,
  },
  coredns: {
    target: '.',
    output: 'coredns',
    links: [],
    ldflags: '-s -w',
    about: `CoreDNS ${versions.coredns} from source`,
  },
  helm: {
    target: 'helm.sh/helm/v4/cmd/helm',
    output: 'helm',
    links: [],
    ldflags: `-s -w -X helm.sh/helm/v4/internal/version.version=v${versions.helm}`,
    about: `Helm ${versions.helm} from source`,
  },
  pause: { target: '.', output: 'pause', links: [], ldflags: '-s -w', about: 'pause from source' },
  toxiproxy: {
    target: 'github.com/Shopify/toxiproxy/v2/cmd/server',
    output: 'toxiproxy-server',
    links: [],
    ldflags: '-s -w',
    about: 'toxiproxy from source',
  },
}

const sources = join(import.meta.dirname, 'binaries')

/** The key of a build: the same key means the same binary. */
export function buildKey(parts: { toolchain: string; ldflags: string; files: ReadonlyMap<string, string> }): string {
  const hash = createHash('sha256')
  // Each part goes in with its length, so that no two different inputs read alike.
  const add = (text: string) => hash.update(`${Buffer.byteLength(text)}:${text}`)
  add(parts.toolchain)
  add(parts.ldflags)
  for (const [name, content] of [...parts.files].sort(([a], [b]) => (a < b ? -1 : 1))) {
    add(name)
    add(content)
  }
  return hash.digest('hex').slice(0, 16)
}

/**
 * The folder that holds the binary (and its other names), built first when the cache has none.
 * @throws LocalClusterError `TOOL_MISSING` without Go; `COMMAND_FAILED` when the build fails
 */
export async function ensureBinary(name: BinaryName, stages: Stages): Promise<string> {
  const recipe = recipes[name]
  const toolchain = await goVersion()
  const files = new Map(
    readdirSync(join(sources, name)).map((file) => [file, readFileSync(join(sources, name, file), 'utf8')]),
  )
  const cache = join(cacheFolder(), 'binaries')
  const folder = join(cache, `${name}-${buildKey({ toolchain, ldflags: recipe.ldflags, files })}`)
  if (existsSync(folder)) return folder
  const lock = {
    purpose: `build of ${name}`,
    waitSeconds: 3600,
    onWait: (holder: { pid: number }) =>
      stages.note(`    ${name}: waiting for process ${holder.pid}, which is building it`),
  }
  return withLock(join(cache, `${name}.lock`), lock, async () => {
    if (!existsSync(folder)) await stages.run(recipe.about, () => build(name, recipe, folder), buildLog(name))
    return folder
  })
}

/**
 * Folders to put on the PATH for kubectl (with the whole control plane) and helm, built first when the cache has none.
 * @throws LocalClusterError like {@link ensureBinary}
 */
export async function toolFolders(stages: Stages): Promise<{ kubernetes: string; helm: string }> {
  return { kubernetes: await ensureBinary('cluster', stages), helm: await ensureBinary('helm', stages) }
}

function buildLog(name: BinaryName): string {
  const folder = join(cacheFolder(), 'logs')
  mkdirSync(folder, { recursive: true })
  return join(folder, `build-${name}.log`)
}

async function build(name: BinaryName, recipe: Recipe, folder: string): Promise<void> {
  for (const entry of readdirSync(dirname(folder))) {
    // What a build that was killed left behind; the lock says that no other is under way.
    if (entry.startsWith(`${basename(folder)}.`)) rmSync(join(dirname(folder), entry), { recursive: true, force: true })
  }
  const work = mkdtempSync(`${folder}.`)
  const log = buildLog(name)
  rmSync(log, { force: true })
  try {
    const env = { ...process.env, CGO_ENABLED: '0', ...garbageCollection() }
    const flags = ['-trimpath', '-buildvcs=false', '-v', '-ldflags', recipe.ldflags]
    await run('go', ['build', ...flags, '-o', join(work, recipe.output), recipe.target], {
      cwd: join(sources, name),
      env,
      log,
    })
    for (const link of recipe.links) symlinkSync(recipe.output, join(work, link))
    renameSync(work, folder)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

// A compiler that collects less often is a fifth faster here, and needs the memory to be.
function garbageCollection(): Record<string, string> {
  return totalmem() >= 8 * 2 ** 30 && process.env.GOGC === undefined ? { GOGC: '500' } : {}
}

async function goVersion(): Promise<string> {
  const answer = await attempt('go', ['version'], { cwd: join(sources, 'cluster') })
  if (answer.status === 0) return answer.stdout.trim()
  throw new LocalClusterError(
    'TOOL_MISSING',
    `Go >= 1.26 is needed to build Kubernetes, and \`go version\` failed here: ${answer.stderr.trim()}. ` +
      'Install Go 1.26 (any Go >= 1.21 brings the right one itself unless GOTOOLCHAIN=local).',
  )
}
