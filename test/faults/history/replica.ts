// A replica beside the broker, over a network that can be cut, and its promotion: the broker is killed, and goes on from the replica's data
// at its own address, as behind a name that fails over. What the replica had not got by then is lost, and how much that was is measured.

import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { startTroubledNetwork, type TroubledNetwork } from '../../fixtures/troubled-network.ts'
import { until } from '../../fixtures/until.ts'
import { now } from './history.ts'

/** What a promotion has cost. */
export interface Promotion {
  /** Everything that was answered before is in the replica. Monotonic milliseconds, as `to`. */
  readonly from: number
  readonly to: number
  readonly lostBytes: number
}

export class Replica {
  readonly #settings: readonly string[]
  readonly #primary: RedisServer
  #server: RedisServer
  #network: TroubledNetwork

  private constructor(
    primary: RedisServer,
    settings: readonly string[],
    beside: { readonly server: RedisServer; readonly network: TroubledNetwork },
  ) {
    this.#primary = primary
    this.#settings = settings
    this.#server = beside.server
    this.#network = beside.network
  }

  static async of(primary: RedisServer, settings: readonly string[]): Promise<Replica> {
    return new Replica(primary, settings, await beside(primary, settings))
  }

  /** Cuts it off for so long, kills the broker, and has it go on with what the replica had. */
  async promote(milliseconds: number): Promise<Promotion> {
    const from = now()
    const then = await offset(this.#primary.client)
    await until('the replica is as far as the broker was', async () => (await offset(this.#server.client)) >= then)
    this.#network.silence()
    await delay(milliseconds)
    const written = await offset(this.#primary.client)
    await this.#primary.down()
    await this.#server.client.call('REPLICAOF', 'NO', 'ONE')
    const had = await offset(this.#server.client)
    await this.#server.down()
    this.#primary.adopt(this.#server.folder)
    await this.#primary.up()
    const to = now()
    this.#server.client.disconnect()
    await this.#network.close()
    const { server, network } = await beside(this.#primary, this.#settings)
    this.#server = server
    this.#network = network
    return { from, to, lostBytes: Math.max(0, written - had) }
  }

  async close(): Promise<void> {
    await this.#server.close()
    await this.#network.close()
  }
}

async function beside(
  primary: RedisServer,
  settings: readonly string[],
): Promise<{ readonly server: RedisServer; readonly network: TroubledNetwork }> {
  const network = await startTroubledNetwork(primary.port)
  const server = await startRedis(...settings, '--replicaof', '127.0.0.1', String(network.port))
  await until('the replica follows', async () => (await server.client.info('replication')).includes('link_status:up'))
  // What it was given at first is in no file until its append-only file has been written anew: killed before that, it would start empty.
  await until('the replica has all in its file', async () => {
    const persistence = await server.client.info('persistence')
    return ['aof_enabled:1', 'aof_rewrite_in_progress:0', 'aof_rewrite_scheduled:0'].every((line) =>
      persistence.includes(`${line}\r\n`),
    )
  })
  return { server, network }
}

/** How far a server is in the stream of writes. */
async function offset(client: Redis): Promise<number> {
  return Number(/master_repl_offset:(\d+)/.exec(await client.info('replication'))?.[1])
}
