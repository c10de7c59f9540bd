// Container images without a registry: a Debian base by mmdebstrap, everything else by buildah from a Dockerfile, kept as
// docker-archives in the cache under a key of what went in. The same input is never built twice. Loads nothing (cluster.ts does).
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  lstatSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { attempt, run } from './command.ts'
import { LocalClusterError } from './errors.ts'
import { withLock } from './lockfile.ts'
import { ensurePackages, imagePackages } from './packages.ts'
import { cacheFolder } from './settings.ts'
import type { Stages } from './stage.ts'

/** Debian release of the base image. */
const release = 'bookworm'
const basePackages = ['ca-certificates']
/** Archives of one image that are kept; older ones are deleted. */
const keptArchives = 3

/** What to build. */
export interface ImageRequest {
  /** Name without registry and tag, e.g. `operator`. */
  readonly name: string
  /** Path of the Dockerfile. When it takes `ARG BASE`, the Debian base is made and given, unless `args` has one. */
  readonly dockerfile: string
  /** Folder that the Dockerfile's COPY reads from. */
  readonly context: string
  /** Paths in the context that go in (files or folders); all of it when left out. node_modules, .git, dist and so on go in only when named. */
  readonly include?: readonly string[]
  /** Build arguments. */
  readonly args?: Readonly<Record<string, string>>
}

/** An image that is built. */
export interface Image {
  /** `taskqueue.local/<name>:<key>`: another content has another reference, so that a Deployment rolls. */
  readonly reference: string
  /** Path of the docker-archive. */
  readonly archive: string
}

const cache = () => join(cacheFolder(), 'images')

/**
 * The archive of an image, built first when the cache has none for this content.
 * @throws LocalClusterError `COMMAND_FAILED` with the last lines of the build; `TOOL_MISSING` when buildah can't be had
 */
export async function buildImage(request: ImageRequest, stages: Stages): Promise<Image> {
  const dockerfile = readFileSync(request.dockerfile, 'utf8')
  const needsBase = /^\s*ARG\s+BASE\b/im.test(dockerfile) && request.args?.BASE === undefined
  const base = needsBase ? await baseImage(stages) : undefined
  const args = { ...request.args, ...(base ? { BASE: base.reference } : {}) }
  const include = request.include ?? readdirSync(request.context)
  const key = imageKey({ dockerfile, args, files: digests(request.context, include) })
  const image = {
    reference: `taskqueue.local/${request.name}:${key}`,
    archive: join(cache(), `${request.name}-${key}.tar`),
  }
  if (existsSync(image.archive)) return image
  return locked(`image ${request.name}`, stages, async () => {
    if (existsSync(image.archive)) return image
    await ready(stages)
    const log = buildLog(request.name)
    await stages.run(`image ${request.name}`, () => build(request, image, include, args, log), log)
    await dropOldArchives(request.name, log)
    return image
  })
}

/**
 * Builds an image with no layer taken from an earlier build, into an archive of the caller's: for who compares the two.
 * @param request with all of its arguments, BASE included
 * @throws LocalClusterError `COMMAND_FAILED`
 */
export async function buildAnew(request: ImageRequest, archive: string, stages: Stages): Promise<void> {
  const image = { reference: `taskqueue.local/${request.name}:anew`, archive }
  const log = buildLog(`${request.name}-anew`)
  await locked(`image ${request.name} anew`, stages, async () => {
    await ready(stages)
    const include = request.include ?? readdirSync(request.context)
    await build(request, image, include, request.args ?? {}, log, ['--no-cache'])
    await buildah(['rmi', image.reference], log)
  })
}

/**
 * Pushes an image to a registry, under the login that buildah (or docker) has there.
 * @param registry such as `registry.example/team`; a registry on this machine is spoken to without TLS
 * @returns the image under its name in the registry
 * @throws LocalClusterError `COMMAND_FAILED` with what the registry said
 */
export async function pushImage(image: Image, registry: string, stages: Stages): Promise<Image> {
  const reference = image.reference.replace(/^[^/]+/, registry.replace(/\/+$/, ''))
  const plain = /^(localhost|127\.0\.0\.1)(:|\/)/.test(registry) ? ['--tls-verify=false'] : []
  const log = buildLog(`push-${basename(image.archive, '.tar')}`)
  await locked(`push of ${reference}`, stages, () =>
    stages.run(`push ${reference}`, () =>
      buildah(['push', '--quiet', ...plain, image.reference, `docker://${reference}`], log),
    ),
  )
  return { ...image, reference }
}

/**
 * The Debian base image, made anew once a month so that its packages stay fresh.
 * @throws LocalClusterError `COMMAND_FAILED` when the packages can't be had
 */
export async function baseImage(stages: Stages, now: Date = new Date()): Promise<Image> {
  const name = 'debian-base'
  const key = `${release}-${now.toISOString().slice(0, 7)}-${createHash('sha256').update(basePackages.join(' ')).digest('hex').slice(0, 8)}`
  const image = { reference: `taskqueue.local/${name}:${key}`, archive: join(cache(), `${name}-${key}.tar`) }
  if (existsSync(image.archive) && (await isStored(image.reference))) return image
  return locked(`image ${name}`, stages, async () => {
    if (existsSync(image.archive) && (await isStored(image.reference))) return image
    await ready(stages)
    const log = buildLog(name)
    await stages.run(`image ${name}: Debian ${release} by mmdebstrap`, () => bootstrap(image, log), log)
    await dropOldArchives(name, log)
    return image
  })
}

async function bootstrap(image: Image, log: string): Promise<void> {
  const context = mkdtempSync(join(cache(), 'base.'))
  try {
    const tar = join(context, 'base.tar')
    const options = ['--variant=minbase', `--include=${basePackages.join(',')}`, ...(await aptProxies())]
    await isolated(['mmdebstrap', ...options, release, tar, ...(await debianSources())], log)
    const request = { name: 'debian-base', dockerfile: join(import.meta.dirname, 'images', 'base.Dockerfile'), context }
    await build(request, image, ['base.tar'], {}, log)
  } finally {
    rmSync(context, { recursive: true, force: true })
  }
}

// Only Debian's own sources, from where this machine gets them: it may have others, which have no place in an image.
async function debianSources(): Promise<string[]> {
  const format = '$(ORIGIN)|$(CODENAME)|$(COMPONENT)|$(CREATED_BY)|deb $(REPO_URI) $(RELEASE) main'
  const targets = await attempt('apt-get', ['indextargets', '--format', format, 'Created-By: Packages'])
  return selectSources(targets.stdout)
}

/** The `deb` lines of the base's Debian release in apt's answer; none when the machine runs another one, and mmdebstrap has its default. */
export function selectSources(targets: string): string[] {
  const lines = targets.split('\n').map((line) => line.split('|'))
  const ours = lines.filter(
    ([origin, codename, component]) =>
      origin === 'Debian' && codename?.split('-')[0] === release && component === 'main',
  )
  const sources = [...new Set(ours.map((fields) => fields[4] ?? '').filter((source) => source !== ''))]
  return sources.some((source) => source.split(' ')[2] === release) ? sources : []
}

async function aptProxies(): Promise<string[]> {
  const dump = await attempt('apt-config', ['dump', 'Acquire::http::Proxy', 'Acquire::https::Proxy'])
  return dump.stdout
    .split('\n')
    .filter((line) => /^Acquire::https?::Proxy ".+";$/.test(line))
    .map((line) => `--aptopt=${line}`)
}

/**
 * buildah's cache of layers takes a LABEL for the one before, whatever an argument has made of it: an image would say that it is of another
 * version. Where nothing is RUN the cache saves nothing either.
 */
function uncached(dockerfile: string): string[] {
  return /^\s*RUN\b/im.test(readFileSync(dockerfile, 'utf8')) ? [] : ['--no-cache']
}

/** The key of an image: the same key means the same Dockerfile, arguments and files. */
export function imageKey(parts: {
  dockerfile: string
  args: Readonly<Record<string, string>>
  files: ReadonlyMap<string, string>
}): string {
  const sorted = (entries: Iterable<[string, string]>) => [...entries].sort(([a], [b]) => (a < b ? -1 : 1))
  const text = JSON.stringify([parts.dockerfile, sorted(Object.entries(parts.args)), sorted(parts.files)])
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}

function digests(context: string, include: readonly string[]): Map<string, string> {
  const found = new Map<string, string>()
  const visit = (path: string) => {
    const full = join(context, path)
    const stat = lstatSync(full)
    if (stat.isDirectory()) for (const entry of readdirSync(full)) visit(join(path, entry))
    else if (stat.isSymbolicLink()) found.set(path, `link ${readlinkSync(full)}`)
    else
      found.set(
        path,
        `${(stat.mode & 0o111).toString(8)} ${createHash('sha256').update(readFileSync(full)).digest('hex')}`,
      )
  }
  for (const path of include) visit(path)
  return found
}

async function build(
  request: ImageRequest,
  image: Image,
  include: readonly string[],
  args: Readonly<Record<string, string>>,
  log: string,
  more: readonly string[] = [],
): Promise<void> {
  const context = mkdtempSync(join(cache(), 'context.'))
  const draft = `${image.archive}.new`
  try {
    for (const path of include) {
      mkdirSync(dirname(join(context, path)), { recursive: true })
      cpSync(join(request.context, path), join(context, path), {
        recursive: true,
        verbatimSymlinks: true,
        preserveTimestamps: true,
      })
    }
    const given = Object.entries({ ...trustArguments(), ...args }).flatMap(([name, value]) => [
      '--build-arg',
      `${name}=${value}`,
    ])
    const flags = [
      '--layers',
      '--pull-never',
      // The other format has no place for HEALTHCHECK.
      '--format',
      'docker',
      // The same content shall have the same digest: every file is of 1970.
      '--timestamp',
      '0',
      ...given,
      ...trustVolume(),
      ...uncached(request.dockerfile),
      ...more,
      '-f',
      request.dockerfile,
      '-t',
      image.reference,
    ]
    await buildah(['bud', ...flags, context], log)
    rmSync(draft, { force: true })
    await buildah(['push', '--quiet', image.reference, `docker-archive:${draft}`], log)
    renameSync(draft, image.archive)
  } finally {
    rmSync(context, { recursive: true, force: true })
    rmSync(draft, { force: true })
  }
}

const trust = '/etc/ssl/certs/ca-certificates.crt'

// What this machine trusts is trusted while an image is built, and is no part of the image: pip and npm must work behind a proxy that
// signs with its own authority. A Dockerfile that needs a variable for it declares it, e.g. `ARG PIP_CERT`.
function trustVolume(): string[] {
  return existsSync(trust) ? ['--volume', `${trust}:${trust}:ro`] : []
}

function trustArguments(): Record<string, string> {
  const names = ['PIP_CERT', 'REQUESTS_CA_BUNDLE', 'SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS']
  return Object.fromEntries(names.filter((name) => process.env[name] !== undefined).map((name) => [name, trust]))
}

function buildah(args: readonly string[], log: string): Promise<string> {
  return isolated(['buildah', ...storage(), ...args], log)
}

function storage(): string[] {
  const folder = join(cacheFolder(), 'buildah')
  return [
    '--root',
    join(folder, 'storage'),
    '--runroot',
    join(folder, 'run'),
    '--storage-driver',
    storageDriver(folder),
  ]
}

// Layers cost nothing on overlay; on a disk that is itself an overlay (in a container) only full copies work.
function storageDriver(folder: string): string {
  mkdirSync(folder, { recursive: true })
  const file = join(folder, 'driver')
  if (existsSync(file)) return readFileSync(file, 'utf8').trim()
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
  const below = mounts.filter(
    ([, point]) => point !== undefined && (`${folder}/`.startsWith(`${point}/`) || point === '/'),
  )
  const nearest = below.sort((a, b) => (b[1]?.length ?? 0) - (a[1]?.length ?? 0))[0]
  const driver = ['ext4', 'xfs', 'btrfs'].includes(nearest?.[2] ?? '') ? 'overlay' : 'vfs'
  writeFileSync(file, driver)
  return driver
}

// In mounts and processes of their own: nothing stays mounted, running or behind when a build ends or is killed.
function isolation(command: readonly string[]): string[] {
  const own = ['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child=KILL', '--mount-proc']
  return [...own, 'sh', join(import.meta.dirname, 'isolated.sh'), cacheFolder(), ...command]
}

function isolated(command: readonly string[], log: string): Promise<string> {
  return run('unshare', isolation(command), { log, env: { ...process.env, BUILDAH_ISOLATION: 'chroot' } })
}

async function isStored(reference: string): Promise<boolean> {
  if (!existsSync('/usr/bin/buildah')) return false
  const inspect = ['buildah', ...storage(), 'inspect', '--type', 'image', '--format', '{{.FromImageID}}', reference]
  return (await attempt('unshare', isolation(inspect))).status === 0
}

async function ready(stages: Stages): Promise<void> {
  if (process.getuid?.() !== 0) {
    throw new LocalClusterError(
      'NOT_ROOT',
      'Images are built by root here (mmdebstrap and buildah in chroot isolation). Run it as root.',
    )
  }
  mkdirSync(cache(), { recursive: true })
  await ensurePackages(imagePackages, stages, join(cacheFolder(), 'logs', 'apt.log'))
}

function locked<T>(purpose: string, stages: Stages, work: () => Promise<T>): Promise<T> {
  const onWait = (holder: { pid: number; name: string }) =>
    stages.note(`    ${purpose}: waiting for process ${holder.pid} (${holder.name})`)
  return withLock(join(cache(), 'build.lock'), { purpose, waitSeconds: 1800, onWait }, work)
}

function buildLog(name: string): string {
  const folder = join(cacheFolder(), 'logs')
  mkdirSync(folder, { recursive: true })
  const log = join(folder, `image-${name}.log`)
  writeFileSync(log, '')
  return log
}

/** The archives of one image but for the newest `kept`, from file names and their times of change. */
export function oldArchives(files: ReadonlyMap<string, number>, name: string, kept: number): string[] {
  // The name of one image may begin with that of another: only a key may follow.
  const ours = new RegExp(`^${name}-([0-9a-f]{16}|${release}-[0-9-]+-[0-9a-f]{8})\\.tar$`)
  return [...files.keys()]
    .filter((file) => ours.test(file))
    .sort((a, b) => (files.get(b) ?? 0) - (files.get(a) ?? 0))
    .slice(kept)
}

async function dropOldArchives(name: string, log: string): Promise<void> {
  const files = new Map(readdirSync(cache()).map((file) => [file, statSync(join(cache(), file)).mtimeMs]))
  for (const file of oldArchives(files, name, keptArchives)) {
    rmSync(join(cache(), file))
    rmSync(join(cache(), file.replace(/tar$/, 'cdx.json')), { force: true })
    const reference = `taskqueue.local/${name}:${basename(file, '.tar').slice(name.length + 1)}`
    // Its layers stay where another image has them too.
    await attempt('unshare', isolation(['buildah', ...storage(), 'rmi', reference]), { log })
  }
}
