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

/** An answer of the port. */
export interface HealthAnswer {
  readonly status: number
  readonly type: string
  readonly body: string
}

/**
 * Opens the port on all addresses: the kubelet comes from outside of the pod. It is answered from this event loop; see watchdog.ts for one
 * that is answered also while that is held.
 * @param port 0 takes a free one
 * @throws UsageError `HealthPortTaken`, `HealthPortRefused`
 */
export async function serveHealth(port: number, source: HealthSource): Promise<HealthServer> {
  return openPort(port, (path) => answerOf(path, source))
}

/** What a source answers to a path. */
export async function answerOf(path: string, source: HealthSource): Promise<HealthAnswer> {
  if (path === '/livez') return healthAnswer(source.livez())
  if (path === '/readyz') return healthAnswer(source.readyz())
  if (path === '/metrics')
    return { status: 200, type: source.metrics.contentType, body: await source.metrics.metrics() }
  return jsonAnswer(404, { error: 'there are /livez, /readyz and /metrics' })
}

export function healthAnswer({ ok, message, detail }: Health): HealthAnswer {
  return jsonAnswer(ok ? 200 : 503, { ok, message, ...detail })
}

export function jsonAnswer(status: number, body: Readonly<Record<string, unknown>>): HealthAnswer {
  return { status, type: 'application/json', body: `${JSON.stringify(body)}\n` }
}

/** Opens the port with any answers. @throws as {@link serveHealth} */
export async function openPort(
  port: number,
  respond: (path: string) => HealthAnswer | Promise<HealthAnswer>,
): Promise<HealthServer> {
  const server = createServer((request, response) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      send(response, jsonAnswer(405, { error: 'GET only' }))
      return
    }
    Promise.resolve(request.url?.split('?')[0] ?? '/')
      .then(respond)
      .catch((error: unknown) => jsonAnswer(500, { error: asError(error).message }))
      .then((answer) => send(response, answer))
      // A client that went away meanwhile.
      .catch(() => undefined)
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

function send(response: ServerResponse, { status, type, body }: HealthAnswer): void {
  response.writeHead(status, { 'content-type': type }).end(body)
}
