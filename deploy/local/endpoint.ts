// Asks an HTTP endpoint whether it is well. One question at a time, never throws: no answer is an answer.
import { readFileSync } from 'node:fs'
import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { connect, createServer } from 'node:net'
import type { KeyPair } from './pki.ts'

/** How to ask. */
export interface EndpointOptions {
  /** Path of the authority that the server's certificate must come from; without it any certificate will do. */
  readonly authority?: string
  readonly client?: KeyPair
  readonly timeoutSeconds?: number
}

/** The endpoint's answer: status 0 with the reason as body when there was none. */
export interface EndpointAnswer {
  readonly status: number
  readonly body: string
}

/** GETs a URL. */
export async function ask(url: string, options: EndpointOptions = {}): Promise<EndpointAnswer> {
  try {
    return await get(url, options)
  } catch (error) {
    return { status: 0, body: error instanceof Error ? error.message : String(error) }
  }
}

function get(url: string, options: EndpointOptions): Promise<EndpointAnswer> {
  const secure = url.startsWith('https:')
  const { authority, client } = options
  const settings = {
    agent: false,
    timeout: (options.timeoutSeconds ?? 2) * 1000,
    ...(secure && authority ? { ca: readFileSync(authority) } : { rejectUnauthorized: false }),
    ...(secure && client ? { cert: readFileSync(client.certificate), key: readFileSync(client.key) } : {}),
  }
  return new Promise((resolve, reject) => {
    const asked = (secure ? requestHttps : requestHttp)(url, settings, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }),
      )
    })
    asked.on('timeout', () => asked.destroy(new Error('no answer in time')))
    asked.on('error', reject)
    asked.end()
  })
}

/** Free TCP ports on the loopback address. Another process may take one before it is used, so their user must be ready to try again. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer()
      await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
      return server
    }),
  )
  const ports = servers.map((server) => {
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('a TCP server has no port')
    return address.port
  })
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

/** Whether something accepts connections there. */
export function accepts(host: string, port: number, timeoutSeconds = 1): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: timeoutSeconds * 1000 })
    const answer = (yes: boolean) => {
      socket.destroy()
      resolve(yes)
    }
    socket.on('connect', () => answer(true))
    socket.on('timeout', () => answer(false))
    socket.on('error', () => answer(false))
  })
}
