// HTTP of the companion: /livez, /clock, /ping, /metrics. It listens before anything can fail and only reports.

import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { clockMetrics } from './clock/clockmetrics.ts'
import { clockReport } from './clock/clockreport.ts'
import type { Clocks } from './clock/clocks.ts'
import type { CeleryPing, PingAnswer } from './ping.ts'
import { poolMetrics } from './poolmetrics.ts'
import type { PoolWatch } from './poolwatch.ts'
import type { Settings } from './settings.ts'

export interface Parts {
  settings: Settings
  clocks: Clocks | undefined
  ping: CeleryPing | undefined
  pool?: PoolWatch | undefined
}

type Answer = { status: number; body: string; type?: string }

/** Listens and resolves with the port; rejects when the port is taken. */
export async function serve(parts: Parts): Promise<{ server: Server; port: number }> {
  const server = createServer((request, response) => {
    route(request.url ?? '/', parts).then(
      (answer) => send(response, answer),
      (error: unknown) => send(response, { status: 500, body: `${String(error)}\n` }),
    )
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(parts.settings.port, resolve)
  })
  return { server, port: (server.address() as AddressInfo).port }
}

function send(response: ServerResponse, { status, body, type = 'text/plain; charset=utf-8' }: Answer): void {
  response.writeHead(status, { 'content-type': type }).end(body)
}

/** The target is split by hand: `new URL` throws for some that a client may send, such as `//`. */
async function route(target: string, parts: Parts): Promise<Answer> {
  const [path = '', query = ''] = target.split('?', 2)
  switch (path) {
    case '/livez':
      return { status: 200, body: 'ok\n' }
    case '/clock':
      return {
        status: 200,
        body: `${JSON.stringify(clockReport(parts.settings, parts.clocks))}\n`,
        type: 'application/json',
      }
    case '/ping':
      if (!parts.ping) return { status: 404, body: 'Pings are answered beside Celery workers only.\n' }
      return pingAnswer(
        await parts.ping.ask(),
        purposeOf(new URLSearchParams(query).get('for')),
        parts.settings.nodeName,
      )
    case '/metrics':
      return {
        status: 200,
        body: clockMetrics(parts.clocks) + poolMetrics(parts.pool),
        type: 'text/plain; version=0.0.4; charset=utf-8',
      }
    default:
      return { status: 404, body: 'Here are /livez, /clock, /ping and /metrics.\n' }
  }
}

/** Which of the kubelet's probes asks. */
export type Purpose = 'startup' | 'readiness' | 'liveness'

function purposeOf(text: string | null): Purpose {
  return text === 'liveness' || text === 'startup' ? text : 'readiness'
}

/**
 * Dead is not unready: a broker that is away makes a worker unready and must not get it killed. One that can't answer by its nature is
 * neither, since it would never be ready.
 */
export function pingAnswer(answer: PingAnswer, purpose: Purpose, node: string): Answer {
  switch (answer.state) {
    case 'pong':
      return { status: 200, body: `${node}: pong${answer.note === undefined ? '' : `, though ${answer.note}`}\n` }
    case 'stuck':
      return { status: 503, body: `${node} answers, but its pool is stuck: ${answer.why}\n` }
    case 'silent':
      return {
        status: 503,
        body: `${node} did not answer the ping${answer.why === undefined ? '' : `: ${answer.why}`}\n`,
      }
    case 'starting':
      // What has not started is no reason to kill: a companion that was restarted knows nothing of what was before.
      return { status: purpose === 'liveness' ? 200 : 503, body: `${node} can not be asked: ${answer.why}\n` }
    case 'mute':
      return { status: 200, body: `whether ${node} works is not known: ${answer.why}\n` }
    case 'unknown':
      return {
        status: purpose === 'readiness' ? 503 : 200,
        body: `the broker can not be asked about ${node}: ${answer.why}\n`,
      }
  }
}
