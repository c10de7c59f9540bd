// Connections to brokers, one a URL however many TaskQueues use it. Not a pool of several connections to one broker.

import { connectBroker, type BrokerConnection } from '@taskqueue/runtime/broker'

interface Shared {
  connection: Promise<BrokerConnection>
  users: Set<string>
}

export class BrokerLinks {
  readonly #links = new Map<string, Shared>()

  /** The connection to `url` on behalf of `user`, opened when it is the first. Rejects when the broker can't be reached. */
  async open(url: string, user: string): Promise<BrokerConnection> {
    let link = this.#links.get(url)
    if (!link) {
      link = { connection: connectBroker(url, { timeouts: { connectMs: 3_000, commandMs: 5_000 } }), users: new Set() }
      this.#links.set(url, link)
    }
    link.users.add(user)
    try {
      return await link.connection
    } catch (error) {
      // The next who asks tries anew.
      if (this.#links.get(url) === link) this.#links.delete(url)
      throw error
    }
  }

  /** `user` no longer needs `url`; the last one closes it. */
  release(url: string, user: string): void {
    const link = this.#links.get(url)
    if (!link) return
    link.users.delete(user)
    if (link.users.size > 0) return
    this.#links.delete(url)
    // A connection that never came about has nothing to close.
    link.connection.then((connection) => connection.close()).catch(() => undefined)
  }

  /** Drops a connection that failed, for all who use it. */
  drop(url: string): void {
    const link = this.#links.get(url)
    if (!link) return
    this.#links.delete(url)
    link.connection.then((connection) => connection.close()).catch(() => undefined)
  }

  closeAll(): void {
    for (const url of [...this.#links.keys()]) this.drop(url)
  }
}
