// Finds the node of a Redis Cluster that holds our keys, anew at each connect, and connects to it alone: all our keys have one hash
// tag, so one node has them all, and what ioredis' own cluster client adds (resending after MOVED) would run a take twice.
import { connect as connectTcp } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { AbstractConnector, Redis, type RedisOptions } from 'ioredis'
import { asError } from '../../errors.ts'
import type { Endpoint } from './url.ts'

type Connector = NonNullable<RedisOptions['Connector']>
type Stream = Awaited<ReturnType<AbstractConnector['connect']>>

/** How long a node may take to answer before the next is asked. */
const ASK_MS = 2000
/** A connection that doesn't end in order is cut. */
const CLOSE_WITHIN_MS = 2000

/**
 * A class for ioredis' option `Connector`.
 * @param seeds nodes to ask first
 * @param keyPrefix has the hash tag that names the slot
 * @param again milliseconds until all are asked again when none knew
 */
export function clusterConnector(
  seeds: readonly Endpoint[],
  keyPrefix: string,
  again: (attempt: number) => number,
): Connector {
  return class ClusterConnector extends AbstractConnector {
    readonly #options: RedisOptions
    /** Every node heard of, the last primary first. */
    #known: readonly Endpoint[] = seeds

    constructor(options: unknown) {
      super(CLOSE_WITHIN_MS)
      this.#options = options as RedisOptions
    }

    /** Never rejects for want of a node: ioredis would not try again. */
    async connect(tell: (type: string, error: Error) => void): Promise<Stream> {
      this.connecting = true
      for (let attempt = 1; ; attempt++) {
        const primary = await this.#find(tell)
        if (this.#closed()) throw new Error('Connection is closed.')
        if (primary) return this.#open(primary)
        await new Promise((resolve) => setTimeout(resolve, again(attempt)))
      }
    }

    /** disconnect() was called meanwhile. */
    #closed(): boolean {
      return !this.connecting
    }

    #open({ host, port }: Endpoint): Stream {
      const { tls } = this.#options
      this.stream = tls ? connectTls({ host, port, ...tls }) : connectTcp({ host, port })
      this.stream.once('error', (error: Error) => {
        this.firstError = error
      })
      return this.stream
    }

    async #find(tell: (type: string, error: Error) => void): Promise<Endpoint | undefined> {
      let last = new Error('no node of the cluster answers')
      for (const node of this.#known) {
        try {
          return await this.#ask(node)
        } catch (error) {
          last = asError(error)
        }
      }
      tell('error', last)
      return undefined
    }

    async #ask(node: Endpoint): Promise<Endpoint> {
      const { username, password, tls } = this.#options
      const client = new Redis({
        ...node,
        ...(username ? { username } : {}),
        ...(password ? { password } : {}),
        ...(tls ? { tls } : {}),
        protocol: 2,
        lazyConnect: true,
        enableReadyCheck: false,
        retryStrategy: () => null,
        connectTimeout: ASK_MS,
        commandTimeout: ASK_MS,
      })
      let broken: Error | undefined
      client.on('error', (error: Error) => (broken = error))
      try {
        await client.connect()
        const slot = await client.cluster('KEYSLOT', keyPrefix)
        const { primary, nodes } = readSlots(await client.cluster('SLOTS'), slot, node)
        this.#known = [primary, ...nodes, ...seeds.filter((seed) => !nodes.some((known) => same(known, seed)))]
        return primary
      } catch (error) {
        throw broken ?? asError(error)
      } finally {
        client.disconnect()
      }
    }
  }
}

const same = (a: Endpoint, b: Endpoint): boolean => a.host === b.host && a.port === b.port

/** CLUSTER SLOTS: `[from, to, [host, port, id, ...], replicas...]`, the primary of each range first. */
function readSlots(reply: unknown, slot: number, asked: Endpoint): { primary: Endpoint; nodes: Endpoint[] } {
  const ranges = (Array.isArray(reply) ? reply : []) as [number, number, ...[string | null, number][]][]
  // A node that doesn't know its own address means the one it was asked at.
  const endpoint = ([host, port]: [string | null, number]): Endpoint => ({ host: host || asked.host, port })
  const range = ranges.find(([from, to]) => from <= slot && slot <= to)
  if (!range) throw new Error(`CLUSTERDOWN no node of the cluster serves slot ${slot}`)
  const [, , first] = range
  if (!first) throw new Error(`CLUSTERDOWN slot ${slot} has no primary`)
  const primary = endpoint(first)
  const nodes = ranges.flatMap(([, , ...members]) => members.map(endpoint)).filter((node) => !same(node, primary))
  return { primary, nodes }
}
