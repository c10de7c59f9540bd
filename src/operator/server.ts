// HTTP for the kubelet and Prometheus: /livez, /readyz, /metrics. Nothing else, and no secrets.

import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Registry } from 'prom-client'

export interface Readiness {
  ready: boolean
  message: string
}

/** Listens at once; resolves with the port. */
export async function serve(
  port: number,
  registry: Registry,
  readiness: () => Readiness,
): Promise<{ server: Server; port: number }> {
  const server = createServer((request, response) => {
    const answer = (status: number, text: string, type = 'text/plain; charset=utf-8'): void => {
      response.writeHead(status, { 'content-type': type }).end(text)
    }
    switch (request.url?.split('?')[0] ?? '/') {
      case '/livez':
        answer(200, 'ok\n')
        break
      case '/readyz': {
        const { ready, message } = readiness()
        answer(ready ? 200 : 503, `${message}\n`)
        break
      }
      case '/metrics':
        registry.metrics().then(
          (text) => answer(200, text, registry.contentType),
          (error: unknown) => answer(500, `${String(error)}\n`),
        )
        break
      default:
        answer(404, 'Here are /livez, /readyz and /metrics.\n')
    }
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, resolve)
  })
  return { server, port: (server.address() as AddressInfo).port }
}
