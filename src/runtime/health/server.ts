// The health port: GET /livez, /readyz and /metrics. It asks its owner and decides nothing itself.
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Registry } from 'prom-client'
import { UsageError, asError } from '../errors.ts'

/** An answer to a probe. `message` says why, for a person. */
export interface Health {
  readonly ok: boolean
  readonly message: string
  /** Further fields of the JSON answer. */
  readonly detail?: Readonly<Record<string, unknown>>
}

/** What the port asks. */
export interface HealthSource {
  /** False only when this process itself is stuck and a restart would help. */
  livez(): Health
  /** False while it can't do its work. */
  readyz(): Health
  readonly metrics: Registry
}

/** An open health port. */
export interface HealthServer {
  /** The port it got. */
  readonly port: number
  close(): Promise<void>
}

/**
 * Opens the port on all addresses: the kubelet comes from outside of the pod.
 * @param port 0 takes a free one
 * @throws UsageError `HealthPortTaken`
 */
export async function serveHealth(port: number, source: HealthSource): Promise<HealthServer> {
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0]
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      answer(response, 405, { error: 'GET only' })
      return
    }
    if (path === '/livez') {
      health(response, source.livez())
      return
    }
    if (path === '/readyz') {
      health(response, source.readyz())
      return
    }
    if (path === '/metrics') return void metrics(response, source.metrics)
    answer(response, 404, { error: 'there are /livez, /readyz and /metrics' })
  })
  server.requestTimeout = 10_000
  await listen(server, port)
  // Probes come to a process that waits for work; the port must not be what keeps it from ending.
  server.unref()
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE'
      const text = `the health port ${port} can't be opened: ${error.message}; set TASKQUEUE_HEALTH_PORT (0 takes a free one)`
      reject(taken ? new UsageError('HealthPortTaken', text) : new UsageError('HealthPortRefused', text))
    })
    server.listen(port, () => resolve())
  })
}

function health(response: ServerResponse, result: Health): void {
  answer(response, result.ok ? 200 : 503, { ok: result.ok, message: result.message, ...result.detail })
}

async function metrics(response: ServerResponse, registry: Registry): Promise<void> {
  try {
    const text = await registry.metrics()
    response.writeHead(200, { 'content-type': registry.contentType }).end(text)
  } catch (error) {
    answer(response, 500, { error: asError(error).message })
  }
}

function answer(response: ServerResponse, status: number, body: Readonly<Record<string, unknown>>): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`)
}
