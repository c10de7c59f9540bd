// The operator's image as it would be shipped: who it runs as, what is in it and what is not, how large it is, whether it is the same when it
// is built again, and whether what runs in it ends when it is told to. It is unpacked and run by chroot: there is no container engine.

import { createHash } from 'node:crypto'
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { operatorImage, operatorRequest } from '../../../deploy/images.ts'
import { run, tied } from '../../../deploy/local/command.ts'
import { buildAnew, type Image } from '../../../deploy/local/images.ts'
import { Stages } from '../../../deploy/local/stage.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'

const root = join(import.meta.dirname, '../../..')
const MOST_BYTES = 200_000_000
const BUILD_MS = 900_000

interface Config {
  config: { User: string; Labels: Record<string, string>; Entrypoint?: string[]; Cmd: string[]; Env: string[] }
}

const stages = new Stages((line) => process.stdout.write(`${line}\n`))
let folder: string
let files: string
let image: Image
let config: Config
let layers: string[]
let redis: RedisServer

async function unpack(archive: string, to: string): Promise<{ config: Config; layers: string[] }> {
  mkdirSync(to)
  await run('tar', ['-xf', archive, '-C', to])
  const [manifest] = JSON.parse(readFileSync(join(to, 'manifest.json'), 'utf8')) as [
    { Config: string; Layers: string[] },
  ]
  const text = readFileSync(join(to, manifest.Config), 'utf8')
  return { config: JSON.parse(text) as Config, layers: manifest.Layers.map((layer) => join(to, layer)) }
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'taskqueue-image-'))
  redis = await startRedis()
  image = await operatorImage(stages)
  const unpacked = await unpack(image.archive, join(folder, 'archive'))
  config = unpacked.config
  layers = unpacked.layers
  files = join(folder, 'root')
  mkdirSync(files)
  for (const layer of layers) await run('tar', ['-xf', layer, '-C', files])
}, BUILD_MS)
afterAll(async () => {
  await redis.close()
  rmSync(folder, { recursive: true, force: true })
})

const names = (): string[] => readdirSync(files, { recursive: true, encoding: 'utf8' })

describe("the operator's image", () => {
  it('runs as a numbered user, by Node itself, and says what it is', () => {
    expect(config.config.User).toBe('10001:10001')
    expect(config.config.Entrypoint ?? []).toEqual([])
    expect(config.config.Cmd).toEqual(['node', 'src/operator/dist/main.js'])
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
    const label = (name: string): string | undefined => config.config.Labels[`org.opencontainers.image.${name}`]
    expect([label('title'), label('licenses'), label('version')]).toEqual(['taskqueue-operator', 'Apache-2.0', version])
    for (const name of ['description', 'revision', 'created', 'source']) expect(label(name)).toBeDefined()
  })

  it('says which version it is of, also after one of another version was built', async () => {
    const other = await operatorImage(stages, { version: '0.0.9' })
    expect(other.reference).not.toBe(image.reference)
    const unpacked = await unpack(other.archive, join(folder, 'other'))
    expect(unpacked.config.config.Labels['org.opencontainers.image.version']).toBe('0.0.9')
  })

  it('has at most 200 MB, and none of it twice', () => {
    expect(layers.reduce((sum, layer) => sum + statSync(layer).size, 0)).toBeLessThan(MOST_BYTES)
    expect(names().filter((name) => name.includes('/.wh.'))).toEqual([])
  })

  it('has no shell, no npm, no compiler, no types, no maps and no tests', () => {
    const unwanted = /(^|\/)(sh|bash|dash|npm|npx|corepack|gcc|cc|strip|apt-get|dpkg)$|\.map$|\.d\.ts$|\.test\.js$/
    expect(names().filter((name) => unwanted.test(name))).toEqual([])
  })

  it('lists just the production packages of the lock file that are in it', () => {
    const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { version?: string; dev?: boolean; optional?: boolean; link?: boolean }>
    }
    const home = join(files, 'opt/taskqueue')
    const isThere = (path: string): boolean => statSync(join(home, path), { throwIfNoEntry: false }) !== undefined
    const wanted = Object.entries(packages)
      .filter(([path, { dev, link }]) => path.includes('node_modules/') && dev !== true && link !== true)
      .filter(([path, { optional }]) => optional !== true || isThere(path))
      .map(([path, { version }]) => `${path.slice(path.lastIndexOf('node_modules/') + 13)}@${version ?? ''}`)
    const { components } = JSON.parse(readFileSync(join(home, 'sbom.cdx.json'), 'utf8')) as {
      components: { group?: string; name: string; version: string; purl: string }[]
    }
    const ours = (purl: string): boolean => purl.startsWith('pkg:npm/%40taskqueue/')
    const listed = components
      .filter(({ purl }) => !ours(purl))
      .map(({ group, name, version }) => `${group ? `${group}/` : ''}${name}@${version}`)
    expect(components.filter(({ purl }) => ours(purl))).toHaveLength(3)
    expect([...new Set(listed)].sort()).toEqual([...new Set(wanted)].sort())
  })

  it(
    'has the same layers when it is built again',
    async () => {
      const again = join(folder, 'again.tar')
      await buildAnew(await operatorRequest(stages), again, stages)
      const digests = (list: string[]): string[] =>
        list.map((layer) => createHash('sha256').update(readFileSync(layer)).digest('hex'))
      expect(digests((await unpack(again, join(folder, 'again'))).layers)).toEqual(digests(layers))
    },
    BUILD_MS,
  )

  it('runs with nothing to write to, and ends within 10 s of SIGTERM', async () => {
    writeFileSync(join(files, 'schedules.yaml'), 'schedules: [{ name: tick, task: a.b, everySeconds: 60 }]\n')
    const inside = [
      `mount --bind ${files} ${files}`,
      `mount -o remount,bind,ro ${files}`,
      `cd ${files}`,
      'exec chroot --userspec=10001:10001 . /usr/bin/env -i PATH=/usr/local/bin:/usr/bin "$@"',
    ].join(' && ')
    const command = ['/opt/taskqueue/node_modules/.bin/taskqueue', 'beat', '--schedules', '/schedules.yaml']
    const environment = [`TASKQUEUE_BROKER_URL=${redis.url}`, 'TASKQUEUE_HEALTH_PORT=0']
    const script = ['-e', '-c', inside, 'sh', ...environment, ...command]
    // As in a container it is the first process, whom no signal ends that it does not handle.
    const ofItsOwn = ['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child=KILL']
    const [program, ...args] = tied('unshare', [...ofItsOwn, 'sh', ...script])
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let said = ''
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
    // Its cursor in the broker shows that it leads.
    await eventually(
      async () => expect([said, (await redis.client.keys('*')).length > 0]).toEqual([said, true]),
      20_000,
    )
    const asked = performance.now()
    const first = readFileSync(`/proc/${child.pid ?? 0}/task/${child.pid ?? 0}/children`, 'utf8').trim()
    process.kill(Number(first), 'SIGTERM')
    expect([await ended, said]).toEqual([0, said])
    expect(performance.now() - asked).toBeLessThan(10_000)
  })
})
