// HTTPS to the API server with as little of our own as can be: what the raw loader and the watches of the bench go over. Not the
// operator's client, which would parse every answer.
import { Agent, request } from 'node:https'
import type { IncomingMessage } from 'node:http'

export interface Credentials {
  readonly ca: Buffer | undefined
  readonly cert: Buffer | undefined
  readonly key: Buffer | undefined
}

export class Wire {
  readonly #url: string
  readonly #agent: Agent

  constructor(url: string, { ca, cert, key }: Credentials, connections: number) {
    this.#url = url
    const tls = { ...(ca ? { ca } : {}), ...(cert ? { cert } : {}), ...(key ? { key } : {}) }
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections, ...tls })
  }

  /** Sends, and resolves with the answer's stream. */
  open(method: string, path: string, headers: Record<string, string>, body?: Buffer): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { 'content-length': String(body.length) }
      const asked = request(`${this.#url}${path}`, { method, headers: { ...headers, ...length }, agent: this.#agent })
      asked.on('response', resolve)
      asked.on('error', reject)
      asked.end(body)
    })
  }

  /** Sends, throws the answer away, and resolves with its status and the first of its text if it is bad. */
  async send(
    method: string,
    path: string,
    contentType: string,
    body: Buffer,
  ): Promise<{ status: number; text: string }> {
    const answer = await this.open(method, path, { 'content-type': contentType, accept: 'application/json' }, body)
    const status = answer.statusCode ?? 0
    let text = ''
    for await (const chunk of answer) if (status >= 300) text += String(chunk)
    return { status, text }
  }

  close(): void {
    this.#agent.destroy()
  }
}
