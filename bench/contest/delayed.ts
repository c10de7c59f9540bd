// Redis behind a network that takes its time: toxiproxy in front of it, which delays each answer. The kernel of many machines has no netem.

import { spawn } from 'node:child_process'
import { ensureBinary } from '../../deploy/local/binaries.ts'
import { tied } from '../../deploy/local/command.ts'
import { Stages } from '../../deploy/local/stage.ts'
import { eventually } from '../../test/fixtures/eventually.ts'
import { freePort } from '../../test/fixtures/redis-server.ts'

export interface DelayedRedis {
  readonly url: string
  close(): Promise<void>
}

/** @param delayMs of each round trip */
export async function startDelayed(redisPort: number, delayMs: number): Promise<DelayedRedis> {
  const folder = await ensureBinary('toxiproxy', new Stages((line) => process.stdout.write(`${line}\n`)))
  const [api, port] = [await freePort(), await freePort()]
  const [program, ...args] = tied(`${folder}/toxiproxy-server`, ['-host', '127.0.0.1', '-port', String(api)])
  const child = spawn(program, args, { stdio: 'ignore', env: { ...process.env, LOG_LEVEL: 'error' } })
  const post = async (path: string, body: object): Promise<void> => {
    const answer = await fetch(`http://127.0.0.1:${api}${path}`, { method: 'POST', body: JSON.stringify(body) })
    if (!answer.ok) throw new Error(`toxiproxy ${path}: ${answer.status} ${await answer.text()}`)
  }
  const address = { listen: `127.0.0.1:${port}`, upstream: `127.0.0.1:${redisPort}` }
  // It takes a moment until it listens.
  await eventually(() => post('/proxies', { name: 'redis', ...address, enabled: true }))
  await post('/proxies/redis/toxics', { type: 'latency', stream: 'downstream', attributes: { latency: delayMs } })
  return {
    url: `redis://127.0.0.1:${port}/0`,
    close: async () => {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      await ended
    },
  }
}
