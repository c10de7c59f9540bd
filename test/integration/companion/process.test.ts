// The companion as a process on a real Redis: it stands on the pod's critical path, so nothing that it is given may end it.

import { spawn, type ChildProcess } from 'node:child_process'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { tied } from '../../../deploy/local/command.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { freePort, startRedis, type RedisServer } from '../../fixtures/redis-server.ts'

const MAIN = fileURLToPath(new URL('../../../src/companion/main.ts', import.meta.url))
let redis: RedisServer
let companion: ChildProcess | undefined
let output = ''

beforeAll(async () => {
  redis = await startRedis()
  await redis.client.config('SET', 'requirepass', 'p%a#s')
})
afterAll(() => redis.close())
afterEach(async () => {
  const running = companion
  companion = undefined
  if (!running || running.exitCode !== null) return
  const gone = new Promise((resolve) => running.once('exit', resolve))
  running.kill('SIGKILL')
  await gone
})

/** Starts one and resolves with its port once it answers. */
async function start(env: Record<string, string>): Promise<number> {
  const port = await freePort()
  const [program, ...args] = tied(process.execPath, [MAIN])
  output = ''
  const child = spawn(program, args, {
    env: { PATH: process.env.PATH, TASKQUEUE_COMPANION_PORT: String(port), TASKQUEUE_COMPANION_PING: 'Celery', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  companion = child
  await eventually(async () => expect((await ask(port, '/livez')).status).toBe(200))
  return port
}

async function ask(port: number, path: string): Promise<{ status: number; body: string }> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`)
  return { status: response.status, body: await response.text() }
}

/** The first line of the answer to a request target that no URL library would send. */
async function askRaw(port: number, target: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(`GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`))
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString()
      socket.end()
    })
    socket.once('error', reject)
    socket.once('close', () => resolve(answer.split('\r\n')[0] ?? ''))
  })
}

describe('the companion', () => {
  it.each(['//', '//[', 'http://[', '*', '/%zz?%zz'])('answers a request for %s and goes on', async (target) => {
    const port = await start({})
    expect(await askRaw(port, target)).toMatch(/^HTTP\/1\.1 4\d\d/)
    expect((await ask(port, '/livez')).status).toBe(200)
    expect(companion?.exitCode).toBeNull()
  })

  it.each(['redis://:p%a#s@127.0.0.1:6379/0', 'redis://:%zz@127.0.0.1/0', 'not a URL', '127.0.0.1:6379'])(
    'says that the broker URL %s can not be read, without its password, and is alive',
    async (url) => {
      const port = await start({ TASKQUEUE_BROKER_URL: url })
      const readiness = await ask(port, '/ping')
      expect(readiness.status).toBe(503)
      expect(readiness.body).toContain('the broker URL')
      expect(readiness.body).not.toMatch(/p%a#s|%zz/)
      expect((await ask(port, '/ping?for=liveness')).status).toBe(200)
      await eventually(() => expect(output).toContain("The broker's clock can not be read"))
      expect(output).not.toMatch(/p%a#s|%zz/)
      expect(companion?.exitCode).toBeNull()
    },
  )

  it('measures over a password with every odd character, once it is escaped', async () => {
    const password = encodeURIComponent('p%a#s')
    const port = await start({ TASKQUEUE_BROKER_URL: `redis://:${password}@127.0.0.1:${redis.port}/0` })
    await eventually(async () => {
      const clock = JSON.parse((await ask(port, '/clock')).body) as { broker: { offsetSeconds: number } | null }
      expect(Math.abs(clock.broker?.offsetSeconds ?? Number.NaN)).toBeLessThan(0.5)
    })
    const silent = await ask(port, '/ping')
    expect(silent.status).toBe(503)
    expect(silent.body).toContain('no pidbox yet')
  })

  it('ends by itself at SIGTERM', async () => {
    await start({})
    const child = companion
    const gone = new Promise((resolve) => child?.once('exit', resolve))
    child?.kill('SIGTERM')
    expect(await gone).toBe(0)
  })
})
