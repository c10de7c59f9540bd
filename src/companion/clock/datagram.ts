// One UDP socket for one look at one address: names are resolved, what comes is handed over with its sender. It knows no protocol.

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { lookup } from 'node:dns'
import { isIP } from 'node:net'
import { text } from './trouble.ts'

export interface Endpoint {
  readonly address: string
  readonly family: 4 | 6
  readonly port: number
}

/** What came: a datagram, or the socket's end. */
export type Arrival = { readonly data: Buffer; readonly from: RemoteInfo } | { readonly error: string }

/**
 * The first address of a name.
 * @throws Error that says that it does not resolve, or not in time
 */
export async function resolveEndpoint(host: string, port: number, withinMs: number): Promise<Endpoint> {
  const literal = isIP(host)
  if (literal !== 0) return { address: host, family: literal === 6 ? 6 : 4, port }
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`its name does not resolve within ${withinMs / 1000} s`)), withinMs)
    lookup(host, (error, address, family) => {
      clearTimeout(timer)
      if (error) reject(new Error(`its name does not resolve (${error.code ?? error.message})`))
      else resolve({ address, family: family === 6 ? 6 : 4, port })
    })
  })
}

export class DatagramSocket {
  readonly #socket: Socket
  readonly #to: Endpoint
  #receive: ((arrival: Arrival) => void) | undefined
  #error: string | undefined

  /** On a random port of the system's choice. Not connected: what comes from elsewhere shall be told, not vanish. */
  constructor(to: Endpoint) {
    this.#to = to
    this.#socket = createSocket(to.family === 6 ? 'udp6' : 'udp4')
    this.#socket.on('message', (data, from) => this.#receive?.({ data, from }))
    this.#socket.on('error', (error) => {
      this.#error = `its socket failed (${text(error)})`
      this.#receive?.({ error: this.#error })
    })
    // A look that hangs must not keep the process.
    this.#socket.unref()
  }

  /** Whether a datagram came from where we sent ours. */
  isFrom(from: RemoteInfo): boolean {
    return from.port === this.#to.port && sameAddress(from.address, this.#to.address)
  }

  /**
   * Sends, and gives what arrives to `take` until it returns something.
   * @param sent called when the datagram is given to the kernel
   * @returns what `take` returned; undefined after `withinMs` without
   * @throws Error with what the system says when it can not be sent
   */
  async exchange<T>(
    data: Buffer,
    withinMs: number,
    sent: () => void,
    take: (arrival: Arrival) => T | undefined,
  ): Promise<T | undefined> {
    if (this.#error !== undefined) throw new Error(this.#error)
    return new Promise<T | undefined>((resolve, reject) => {
      const finish = (settle: () => void): void => {
        clearTimeout(timer)
        this.#receive = undefined
        settle()
      }
      const timer = setTimeout(() => finish(() => resolve(undefined)), withinMs)
      this.#receive = (arrival) => {
        const taken = take(arrival)
        if (taken !== undefined) finish(() => resolve(taken))
      }
      try {
        sent()
        this.#socket.send(data, this.#to.port, this.#to.address, (error) => {
          if (error) finish(() => reject(new Error(`nothing can be sent to it (${text(error)})`)))
        })
      } catch (error) {
        finish(() => reject(new Error(`nothing can be sent to it (${text(error)})`)))
      }
    })
  }

  close(): void {
    try {
      this.#socket.close()
    } catch {
      // A socket that failed is closed already.
    }
  }
}

/** v6 addresses have several spellings. */
function sameAddress(a: string, b: string): boolean {
  return a === b || (a.includes(':') && b.includes(':') && canonical(a) === canonical(b))
}

function canonical(address: string): string {
  const [plain = ''] = address.split('%')
  return URL.canParse(`http://[${plain}]`) ? new URL(`http://[${plain}]`).hostname : plain
}
