// HTTP of the companion: /livez, /clock, /ping, /metrics. It listens before anything can fail and only reports.

import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { BrokerClock } from './clock/brokerclock.ts'
import type { CeleryPing, PingAnswer } from './ping.ts'
import type { PoolWatch } from './poolwatch.ts'
import type { Settings } from './settings.ts'

export interface Parts {
  settings: Settings
  clock: BrokerClock | undefined
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
      return { status: 200, body: `${JSON.stringify(clockReport(parts))}\n`, type: 'application/json' }
    case '/ping':
      if (!parts.ping) return { status: 404, body: 'Pings are answered beside Celery workers only.\n' }
      return pingAnswer(
        await parts.ping.ask(),
        new URLSearchParams(query).get('for') === 'liveness',
        parts.settings.nodeName,
      )
    case '/metrics':
      return { status: 200, body: metrics(parts), type: 'text/plain; version=0.0.4; charset=utf-8' }
    default:
      return { status: 404, body: 'Here are /livez, /clock, /ping and /metrics.\n' }
  }
}

/**
 * Dead is not unready: a broker that is away makes a worker unready and must not get it killed. One that can't answer by its nature is
 * neither, since it would never be ready.
 */
export function pingAnswer(answer: PingAnswer, forLiveness: boolean, node: string): Answer {
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
    case 'mute':
      return { status: 200, body: `whether ${node} works is not known: ${answer.why}\n` }
    case 'unknown':
      return { status: forLiveness ? 200 : 503, body: `the broker can not be asked about ${node}: ${answer.why}\n` }
  }
}

/** What /clock says. `broker` is null while unknown. */
export function clockReport({ settings, clock }: Parts): Record<string, unknown> {
  const measurement = clock?.measurement
  return {
    mode: settings.clock,
    broker: measurement
      ? {
          offsetSeconds: measurement.offsetSeconds,
          errorSeconds: measurement.errorSeconds,
          ageSeconds: (performance.now() - measurement.at) / 1000,
        }
      : null,
    ...(clock?.trouble === undefined ? {} : { trouble: clock.trouble }),
  }
}

function metrics({ clock, pool }: Parts): string {
  const measurement = clock?.measurement
  const lines = [
    '# HELP taskqueue_clock_known 1 while the offset to the broker is known.',
    '# TYPE taskqueue_clock_known gauge',
    `taskqueue_clock_known{against="broker"} ${measurement ? 1 : 0}`,
  ]
  if (measurement) {
    lines.push(
      "# HELP taskqueue_clock_offset_seconds This machine's clock minus the other's.",
      '# TYPE taskqueue_clock_offset_seconds gauge',
      `taskqueue_clock_offset_seconds{against="broker"} ${measurement.offsetSeconds}`,
      '# HELP taskqueue_clock_round_trip_seconds Round trip of the measurement.',
      '# TYPE taskqueue_clock_round_trip_seconds gauge',
      `taskqueue_clock_round_trip_seconds{against="broker"} ${measurement.errorSeconds * 2}`,
      '# HELP taskqueue_clock_measurement_age_seconds Age of the measurement.',
      '# TYPE taskqueue_clock_measurement_age_seconds gauge',
      `taskqueue_clock_measurement_age_seconds{against="broker"} ${(performance.now() - measurement.at) / 1000}`,
    )
  }
  if (pool?.verdict) {
    lines.push(
      '# HELP taskqueue_celery_stuck_tasks Tasks of the Celery worker that run for longer than maxTaskSeconds.',
      '# TYPE taskqueue_celery_stuck_tasks gauge',
      `taskqueue_celery_stuck_tasks ${pool.verdict.stuck.length}`,
      '# HELP taskqueue_celery_pool_stuck 1 while nothing of its pool goes on any more.',
      '# TYPE taskqueue_celery_pool_stuck gauge',
      `taskqueue_celery_pool_stuck ${pool.verdict.dead === undefined ? 0 : 1}`,
    )
  }
  return `${lines.join('\n')}\n`
}
