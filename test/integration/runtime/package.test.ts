// The npm package as its users get it: packed, judged by the tools of the trade, installed into an empty folder, and its README's example run.

import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { attempt, run, tied } from '../../../deploy/local/command.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'

const root = join(import.meta.dirname, '../../..')
const SOURCE = join(root, 'src/runtime')
const bin = (name: string): string => join(root, 'node_modules/.bin', name)

let folder: string
let archive: string
let redis: RedisServer

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'taskqueue-package-'))
  redis = await startRedis()
  const told = await run('npm', ['pack', '--json', '--pack-destination', folder], { cwd: SOURCE })
  const [packed] = Object.values(JSON.parse(told) as Record<string, { filename: string; files: { path: string }[] }>)
  archive = join(folder, packed?.filename ?? '')
  const paths = (packed?.files ?? []).map(({ path }) => path)
  expect(paths).toEqual(expect.arrayContaining(['README.md', 'LICENSE', 'package.json', 'bin/taskqueue.js']))
  // Built code and what it loads: no sources, no tests, no notes of a build.
  expect(
    paths.filter((path) => !/^(bin|dist)\/.*\.(js|d\.ts|lua)$|^(README\.md|LICENSE|package\.json)$/.test(path)),
  ).toEqual([])
})
afterAll(async () => {
  await redis.close()
  rmSync(folder, { recursive: true, force: true })
})

describe('the package', () => {
  it('is in order to publint and to "are the types wrong"', async () => {
    const published = await attempt(bin('publint'), ['run', '--strict', '.'], { cwd: SOURCE })
    expect([published.status, published.stdout]).toEqual([0, expect.stringContaining('All good!')])
    // It is for ES modules: old resolvers are not asked.
    const types = await attempt(bin('attw'), [archive, '--profile', 'esm-only', '--format', 'json'])
    expect([types.status, types.stderr]).toEqual([0, ''])
  })

  it('knows nothing of Kubernetes', () => {
    const { dependencies } = JSON.parse(readFileSync(join(SOURCE, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>
    }
    expect(Object.keys(dependencies).filter((name) => name.includes('kubernetes'))).toEqual([])
  })

  it("installs into an empty folder and runs its README's example", async () => {
    const home = join(folder, 'home')
    await run('mkdir', [home])
    writeFileSync(join(home, 'package.json'), '{"type": "module", "private": true}\n')
    await run('npm', ['install', '--no-fund', '--no-audit', '--prefer-offline', archive], {
      cwd: home,
      timeoutSeconds: 120,
    })
    const examples = readFileSync(join(SOURCE, 'README.md'), 'utf8').matchAll(/```js\n\/\/ (\S+)\n([^`]*)```/g)
    const names = [...examples].map(([, name = '', code = '']) => {
      writeFileSync(join(home, name), code)
      return name
    })
    expect(names).toEqual(['tasks.js', 'send.js'])
    const env = { ...process.env, TASKQUEUE_BROKER_URL: redis.url, TASKQUEUE_HEALTH_PORT: '0' }
    const [program, ...args] = tied(join(home, 'node_modules/.bin/taskqueue'), ['worker', '--app', 'tasks.js'])
    const worker = spawn(program, args, { cwd: home, env, stdio: 'ignore' })
    const ended = new Promise((resolve) => worker.once('exit', resolve))
    try {
      expect(await run(process.execPath, ['send.js'], { cwd: home, env })).toContain("orderId: 'A-17'")
    } finally {
      worker.kill('SIGTERM')
      expect(await ended).toBe(0)
    }
  })
})
