// What the services of deploy/examples/compose.yaml run, taken from the file and run as plain processes: there is no Docker here. The same
// commands, environments and health checks, with the broker and the folders of this machine in the place of the containers'.

import { spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { attempt, tied } from '../../../deploy/local/command.ts'
import { celeryBin } from '../../conformance/support/celery.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { freePort } from '../../fixtures/redis-server.ts'

const root = join(import.meta.dirname, '../../..')
const examples = join(root, 'deploy/examples')

interface Service {
  command: string[]
  environment?: Record<string, string>
  healthcheck?: { test: [kind: 'CMD' | 'CMD-SHELL', ...words: string[]] }
}
const file = parse(readFileSync(join(examples, 'compose.yaml'), 'utf8'), { merge: true }) as {
  services: Record<string, Service>
  configs: { schedules: { content: string } }
}

let folder: string
let ports: { redis: number; health: number }
let path: string
const running: ChildProcess[] = []

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'taskqueue-compose-'))
  ports = { redis: await freePort(), health: await freePort() }
  // As the images have it: the app with its node_modules, and a celery on the PATH.
  const app = join(folder, 'app')
  mkdirSync(app)
  for (const name of ['tasks.ts', 'package.json'])
    writeFileSync(join(app, name), readFileSync(join(examples, 'orders-app', name)))
  symlinkSync(join(root, 'node_modules'), join(app, 'node_modules'))
  writeFileSync(join(folder, 'schedules.yaml'), file.configs.schedules.content)
  path = [await celeryBin('5.6'), dirname(process.execPath), process.env.PATH].join(delimiter)
}, 300_000)
afterAll(async () => {
  await Promise.all(running.reverse().map(end))
  rmSync(folder, { recursive: true, force: true })
})

function service(name: string): Service {
  const found = file.services[name]
  if (!found) throw new Error(`compose.yaml has no service ${name}`)
  return found
}

/** A word of the file as it is on this machine. */
function here(word: string): string {
  return word
    .replaceAll('@redis:6379', `@127.0.0.1:${ports.redis}`)
    .replace(/^\/data$/, folder)
    .replace(/^\/schedules\.yaml$/, join(folder, 'schedules.yaml'))
    .replace('redis-cli ', `redis-cli -p ${ports.redis} `)
    .replaceAll('$$', '$')
}

function environment(name: string): Record<string, string> {
  const given = Object.entries(service(name).environment ?? {}).map(([key, value]) => [key, here(value)] as const)
  const python = { PYTHONPATH: join(examples, 'reports-app'), PYTHONDONTWRITEBYTECODE: '1' }
  const port = name === 'node-worker' ? ports.health : 0
  const own = { PATH: path, HOME: folder, HOSTNAME: hostname(), TASKQUEUE_HEALTH_PORT: String(port), ...python }
  return { ...own, ...Object.fromEntries(given) }
}

const folderOf = (name: string): string => (name === 'python-worker' || name === 'redis' ? folder : join(folder, 'app'))

function start(name: string, ...more: string[]): ChildProcess {
  const [program = '', ...args] = [...service(name).command.map(here), ...more]
  const child = spawn(...argumentsOf(program, args), { cwd: folderOf(name), env: environment(name), stdio: 'ignore' })
  running.push(child)
  return child
}

function argumentsOf(program: string, args: readonly string[]): [string, string[]] {
  const [first, ...rest] = tied(program, args)
  return [first, rest]
}

async function end(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null) return child.exitCode
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  return ended
}

async function check(name: string): Promise<number | null> {
  const [kind, ...words] = service(name).healthcheck?.test ?? ['CMD', 'false']
  const [program = '', ...args] = kind === 'CMD' ? words : ['sh', '-c', ...words]
  const options = { cwd: folderOf(name), env: environment(name), timeoutSeconds: 40 }
  return (await attempt(program, args.map(here), options)).status
}

async function runs(name: string): Promise<string> {
  const [program = '', ...args] = service(name).command.map(here)
  const { status, stdout, stderr } = await attempt(program, args, { cwd: folderOf(name), env: environment(name) })
  expect([status, stderr]).toEqual([0, stderr])
  return stdout
}

describe('compose.yaml', () => {
  it('has a Redis that is well, and not before it runs', async () => {
    expect(await check('redis')).not.toBe(0)
    start('redis', '--port', String(ports.redis))
    await eventually(async () => expect(await check('redis')).toBe(0), 20_000)
  })

  it('has a Node worker that is well while it runs, and does what the producer sends', async () => {
    expect(await check('node-worker')).toBe(1)
    const worker = start('node-worker')
    await eventually(async () => expect(await check('node-worker')).toBe(0), 30_000, 500)
    expect(await runs('producer')).toContain('A-17')
    // Both engines' workers are called by their host, and here that is one: the Python one's check must not hear this one.
    expect(await end(worker)).toBe(0)
    expect(await check('node-worker')).toBe(1)
  })

  it('has a Python worker that is well while it runs, and not when it is gone', async () => {
    const worker = start('python-worker')
    await eventually(async () => expect(await check('python-worker')).toBe(0), 50_000, 500)
    expect(await runs('python-producer')).toContain('May')
    await end(worker)
    expect(await check('python-worker')).not.toBe(0)
  }, 120_000)

  it('has a beat that keeps going, and ends when it is told to', async () => {
    const beat = start('beat')
    const keys = ['-p', String(ports.redis), 'keys', '*beat*']
    const env = { ...process.env, REDISCLI_AUTH: 'demo-only' }
    await eventually(async () => expect((await attempt('redis-cli', keys, { env })).stdout.trim()).not.toBe(''), 20_000)
    expect(await end(beat)).toBe(0)
  })
})
