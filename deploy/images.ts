// Lays out the contexts of the project's own images and has them built: the operator's, the example apps', Redis. How an image
// is built without a registry is local/images.ts; loading it into a cluster is local/cluster.ts.

import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createHash } from 'node:crypto'
import { dirname, join } from 'node:path'
import { installedFor, type LockFile } from './installed.ts'
import { attempt, run } from './local/command.ts'
import { LocalClusterError } from './local/errors.ts'
import { baseImage, buildImage, pushImage, type Image, type ImageRequest } from './local/images.ts'
import { cacheFolder } from './local/settings.ts'
import { describeFailure, Stages } from './local/stage.ts'
import { isLoaded, prune } from './pruned.ts'
import { SBOM, writeSbom } from './sbom.ts'

const root = join(import.meta.dirname, '..')
const packages = ['runtime', 'operator', 'companion'] as const
type Package = (typeof packages)[number]

export type ProjectImages = Record<
  'operator' | 'orders' | 'shop' | 'reports' | 'mixedNode' | 'mixedPython' | 'redis' | 'chronyd',
  Image
>

/** What an image's labels say of where it comes from; left out, they are empty, so that a new commit alone makes no new image. */
export interface Origin {
  /** Of the project, when it is not the one of package.json. */
  readonly version?: string
  /** Of the commit. */
  readonly revision?: string
  /** Of the commit, in seconds since 1970. */
  readonly createdSeconds?: number
  /** Address of the repository. */
  readonly source?: string
}

/** The operator's image, which is the companion's too. The packages must be built. */
export async function operatorImage(stages: Stages, origin: Origin = {}): Promise<Image> {
  return buildImage(await operatorRequest(stages, origin), stages)
}

/** What {@link operatorImage} builds, for who builds it once more. */
export async function operatorRequest(stages: Stages, origin: Origin = {}): Promise<ImageRequest> {
  const node = await nodeBase(stages)
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  const { version = manifest.version, revision = '', createdSeconds, source = '' } = origin
  const created = createdSeconds === undefined ? '' : new Date(createdSeconds * 1000).toISOString()
  return {
    name: 'operator',
    dockerfile: join(root, 'deploy/Dockerfile'),
    context: await productionContext('operator', packages, stages),
    include: ['node_modules', 'package.json', SBOM, 'src'],
    args: { BASE: node.reference, VERSION: version, REVISION: revision, CREATED: created, SOURCE: source },
  }
}

/** All images of the demo and of the e2e tests. The packages must be built (`make build`). */
export async function projectImages(stages: Stages, origin: Origin = {}): Promise<ProjectImages> {
  const node = await nodeBase(stages)
  const examples = join(root, 'deploy/examples')
  return {
    operator: await operatorImage(stages, origin),
    orders: await buildImage(
      {
        name: 'example-orders',
        dockerfile: join(examples, 'orders-app/Dockerfile'),
        context: await nodeAppContext({ folder: 'orders-app' }, stages),
        args: { BASE: node.reference },
      },
      stages,
    ),
    shop: await buildImage(
      {
        name: 'example-shop',
        dockerfile: join(examples, 'orders-app/Dockerfile'),
        context: await nodeAppContext({ folder: 'shop' }, stages),
        args: { BASE: node.reference },
      },
      stages,
    ),
    reports: await buildImage(
      {
        name: 'example-reports',
        dockerfile: join(examples, 'reports-app/Dockerfile'),
        context: await pythonAppContext('reports-app', ['reports.py', 'timers.py', 'jsonlog.py'], stages),
      },
      stages,
    ),
    mixedNode: await buildImage(
      {
        name: 'example-mixed-node',
        dockerfile: join(examples, 'orders-app/Dockerfile'),
        context: await nodeAppContext({ folder: 'mixed/node', more: ['server.ts'], packages: ['fastify'] }, stages),
        args: { BASE: node.reference },
      },
      stages,
    ),
    mixedPython: await buildImage(
      {
        name: 'example-mixed-python',
        dockerfile: join(examples, 'mixed/python/Dockerfile'),
        context: await pythonAppContext('mixed/python', ['tasks.py', 'api.py'], stages),
      },
      stages,
    ),
    redis: await buildImage(
      {
        name: 'example-redis',
        dockerfile: join(examples, 'redis/Dockerfile'),
        context: join(examples, 'redis'),
        include: [],
      },
      stages,
    ),
    chronyd: await buildImage(
      { name: 'chronyd', dockerfile: join(root, 'deploy/chronyd.Dockerfile'), context: examples, include: [] },
      stages,
    ),
  }
}

/**
 * Brings the images to a cluster: pushed to the registry that TASKQUEUE_REGISTRY names, else loaded into its nodes.
 * @returns the images under the names by which the cluster knows them
 */
export async function deliverImages<Name extends string>(
  images: Readonly<Record<Name, Image>>,
  cluster: { load(archives: readonly string[]): Promise<void> },
  stages: Stages,
  registry = process.env.TASKQUEUE_REGISTRY,
): Promise<Record<Name, Image>> {
  const entries = Object.entries<Image>(images)
  if (registry === undefined || registry === '') await cluster.load(entries.map(([, { archive }]) => archive))
  else for (const entry of entries) entry[1] = await pushImage(entry[1], registry, stages)
  return Object.fromEntries(entries) as Record<Name, Image>
}

/** The very Node that runs this, with nothing beside it. */
async function nodeBase(stages: Stages): Promise<Image> {
  const base = await baseImage(stages)
  const context = join(contexts(), 'node')
  const copy = join(context, 'node')
  const stamp = join(contexts(), 'node.version')
  if (!existsSync(copy) || read(stamp) !== process.version) {
    mkdirSync(context, { recursive: true })
    cpSync(process.execPath, `${copy}.new`, { dereference: true })
    renameSync(`${copy}.new`, copy)
    writeFileSync(stamp, process.version)
  }
  const dockerfile = join(root, 'deploy/local/images/node.Dockerfile')
  const full = await buildImage({ name: 'node-full', dockerfile, context, args: { BASE: base.reference } }, stages)
  return buildImage(
    {
      name: 'node-base',
      dockerfile: join(root, 'deploy/node.Dockerfile'),
      context,
      include: [],
      args: { BASE: full.reference },
    },
    stages,
  )
}

/** Manifests, production dependencies as the lock file has them, and what tsc made of the given packages. */
async function productionContext(name: string, wanted: readonly Package[], stages: Stages): Promise<string> {
  const context = join(contexts(), name)
  const manifests = ['package.json', 'package-lock.json', ...packages.map((p) => `src/${p}/package.json`)]
  const lock = createHash('sha256')
  for (const file of manifests) lock.update(readFileSync(join(root, file)))
  for (const file of ['pruned.ts', 'sbom.ts', 'images.ts']) lock.update(readFileSync(join(import.meta.dirname, file)))
  const key = `${lock.digest('hex')} ${process.version}`
  const stamp = join(contexts(), `${name}.lock`)
  if (read(stamp) !== key || !existsSync(context)) {
    await stages.run(`production dependencies of ${name}`, async () => {
      const draft = mkdtempSync(join(contexts(), `${name}.`))
      // npm links a workspace's commands only when they are there.
      for (const file of [...manifests, '.npmrc', 'src/runtime/bin']) copyInto(draft, file)
      const only = wanted.flatMap((p) => ['--workspace', `src/${p}`])
      const flags = ['--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund']
      await run('npm', ['ci', ...flags, ...only], { cwd: draft })
      onlyProduction(draft, wanted)
      await writeSbom(draft)
      prune(join(draft, 'node_modules'))
      rmSync(context, { recursive: true, force: true })
      renameSync(draft, context)
      writeFileSync(stamp, key)
    })
  }
  for (const p of wanted) {
    for (const part of ['dist', 'bin']) {
      rmSync(join(context, 'src', p, part), { recursive: true, force: true })
      if (existsSync(join(root, 'src', p, part))) copyInto(context, `src/${p}/${part}`)
    }
  }
  return context
}

/** Leaves of the manifests what the packages need where they run: `npm sbom` takes the rest for missing. */
function onlyProduction(folder: string, wanted: readonly Package[]): void {
  const manifest = join(folder, 'package.json')
  const { name, version, license } = JSON.parse(readFileSync(manifest, 'utf8')) as Record<string, unknown>
  const workspaces = wanted.map((p) => `src/${p}`)
  const type = 'module'
  writeFileSync(manifest, `${JSON.stringify({ name, version, private: true, license, type, workspaces }, null, 2)}\n`)
  for (const p of packages) if (!wanted.includes(p)) rmSync(join(folder, 'src', p), { recursive: true, force: true })
  for (const file of ['.npmrc', 'package-lock.json', 'node_modules/.package-lock.json'])
    rmSync(join(folder, file), { force: true })
}

const lockFile = (): LockFile => JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as LockFile

interface NodeApp {
  /** Under deploy/examples. */
  readonly folder: string
  /** Modules beside tasks.ts. */
  readonly more?: readonly string[]
  /** That the app needs beside the runtime; as this checkout has them installed. */
  readonly packages?: readonly string[]
}

/** An example app with the runtime in its node_modules, as `npm install @taskqueue/runtime` would leave it. */
async function nodeAppContext({ folder, more = [], packages: wanted = [] }: NodeApp, stages: Stages): Promise<string> {
  const production = await productionContext('runtime', ['runtime'], stages)
  const context = join(contexts(), folder.replaceAll('/', '-'))
  rmSync(context, { recursive: true, force: true })
  mkdirSync(context, { recursive: true })
  for (const file of ['package.json', 'tasks.ts', ...more])
    cpSync(join(root, 'deploy/examples', folder, file), join(context, file))
  cpSync(join(production, 'node_modules'), join(context, 'node_modules'), { recursive: true, verbatimSymlinks: true })
  const runtime = join(context, 'node_modules/@taskqueue/runtime')
  rmSync(runtime, { recursive: true, force: true })
  cpSync(join(production, 'src/runtime'), runtime, { recursive: true })
  for (const installed of wanted.flatMap((name) => installedFor(name, lockFile()))) copyInto(context, installed)
  cpSync(join(production, SBOM), join(context, SBOM))
  return context
}

/** The project's modules and its packages for the Python 3.11 of Debian 12, whatever Python this machine has. */
async function pythonAppContext(folder: string, modules: readonly string[], stages: Stages): Promise<string> {
  const source = join(root, 'deploy/examples', folder)
  const name = folder.replaceAll('/', '-')
  const context = join(contexts(), name)
  const requirements = join(source, 'requirements.txt')
  const key = createHash('sha256').update(readFileSync(requirements)).digest('hex')
  const stamp = join(contexts(), `${name}.lock`)
  if (read(stamp) !== key || !existsSync(join(context, 'packages'))) {
    await stages.run(`Python packages of ${name}`, async () => {
      if ((await attempt('python3', ['-m', 'pip', '--version'])).status !== 0) {
        const advice =
          'Python packages are brought by pip, which python3 lacks here. Install it: apt-get install python3-pip'
        throw new LocalClusterError('TOOL_MISSING', advice)
      }
      const draft = mkdtempSync(join(contexts(), `${name}.`))
      const target = ['--target', join(draft, 'packages'), '--python-version', '3.11', '--implementation', 'cp']
      const wheels = ['--no-deps', '--only-binary=:all:', '--abi', 'cp311', '--abi', 'abi3', '--abi', 'none']
      const platforms = [
        '--platform',
        'any',
        '--platform',
        `manylinux2014_${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}`,
      ]
      const quiet = ['--quiet', '--no-compile', '--root-user-action=ignore', '--disable-pip-version-check']
      await run(
        'python3',
        ['-m', 'pip', 'install', ...quiet, ...target, ...wheels, ...platforms, '-r', requirements],
        {},
      )
      rmSync(context, { recursive: true, force: true })
      renameSync(draft, context)
      writeFileSync(stamp, key)
    })
  }
  for (const file of modules) cpSync(join(source, file), join(context, file))
  return context
}

function contexts(): string {
  const folder = join(cacheFolder(), 'contexts')
  mkdirSync(folder, { recursive: true })
  return folder
}

function copyInto(folder: string, file: string): void {
  mkdirSync(dirname(join(folder, file)), { recursive: true })
  cpSync(join(root, file), join(folder, file), {
    recursive: true,
    verbatimSymlinks: true,
    preserveTimestamps: true,
    filter: isLoaded,
  })
}

function read(file: string): string | undefined {
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined
}

/** Each archive, and beside it the list of its packages where it has one. */
async function build(): Promise<void> {
  const stages = new Stages((line) => process.stdout.write(`${line}\n`))
  const git = async (...args: string[]): Promise<string> => (await attempt('git', args, { cwd: root })).stdout.trim()
  const createdSeconds = Number(await git('log', '-1', '--format=%ct'))
  const source = process.env.TASKQUEUE_SOURCE ?? ''
  const images = await projectImages(stages, { revision: await git('rev-parse', 'HEAD'), createdSeconds, source })
  const lists = {
    operator: join(contexts(), 'operator', SBOM),
    orders: join(contexts(), 'orders-app', SBOM),
    shop: join(contexts(), 'shop', SBOM),
    mixedNode: join(contexts(), 'mixed-node', SBOM),
  }
  for (const [name, list] of Object.entries(lists)) {
    const beside = images[name as keyof typeof lists].archive.replace(/tar$/, 'cdx.json')
    copyFileSync(list, beside)
    process.stdout.write(`${beside}\n`)
  }
  for (const { archive } of Object.values(images)) process.stdout.write(`${archive}\n`)
}

if (import.meta.main) {
  build().then(
    () => undefined,
    (error: unknown) => {
      process.stderr.write(`${describeFailure(error)}\n`)
      process.exitCode = 1
    },
  )
}
