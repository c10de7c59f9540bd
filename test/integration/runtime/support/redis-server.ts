// A real redis-server of a test's own: free port, temporary folder, ended by its recorded process.
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { until } from './until.ts'

export interface RedisServer {
  readonly port: number
  readonly url: string
  /** A client for looking at what is there. */
  readonly client: Redis
  /** Ends the server; its data stays for start(). */
  down(): Promise<void>
  /** Starts it again on the same port with the same data. */
  up(): Promise<void>
  /** Ends it for good and removes its folder. */
  close(): Promise<void>
}

/** A port that nothing listens on. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

export async function startRedis(...settings: string[]): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), 'taskqueue-redis-'))
  const port = await freePort()
  let server: ChildProcess | undefined
  const client = new Redis({
    port,
    host: '127.0.0.1',
    lazyConnect: true,
    retryStrategy: () => 50,
    maxRetriesPerRequest: null,
  })
  client.on('error', () => undefined)

  async function up(): Promise<void> {
    const args = [
      '--port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--dir',
      folder,
      '--appendonly',
      'yes',
      '--save',
      '',
      ...settings,
    ]
    const started = spawn('redis-server', args, { stdio: 'ignore' })
    started.on('error', (error) => {
      throw new Error(`redis-server is needed (apt-get install redis-server): ${error.message}`)
    })
    server = started
    await until('redis-server answers', async () => {
      const probe = new Redis({ port, host: '127.0.0.1', lazyConnect: true, retryStrategy: () => null })
      probe.on('error', () => undefined)
      try {
        await probe.connect()
        await probe.ping()
        return true
      } catch {
        return false
      } finally {
        probe.disconnect()
      }
    })
  }

  async function down(): Promise<void> {
    const running = server
    server = undefined
    if (!running || running.exitCode !== null) return
    const gone = new Promise((resolve) => running.once('exit', resolve))
    running.kill('SIGKILL')
    await gone
  }

  await up()
  await client.connect()
  return {
    port,
    url: `redis://127.0.0.1:${port}/0`,
    client,
    up,
    down,
    close: async () => {
      client.disconnect()
      await down()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
