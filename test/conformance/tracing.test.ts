// One trace across Node and Python: W3C trace context lies where opentelemetry-instrumentation-celery writes and reads it, and parents
// are right at every step.
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { context, SpanKind, trace } from '@opentelemetry/api'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TaskApp } from '../../src/runtime/app.ts'
import { opentelemetry } from '../../src/runtime/opentelemetry/index.ts'
import { endAll, launch } from '../fixtures/command.ts'
import { startRedis, type RedisServer } from '../fixtures/redis-server.ts'
import { until } from '../fixtures/until.ts'
import { recordInto, recordSpans, spansIn, type SpanLine } from '../integration/runtime/support/spans.ts'
import { CELERY_VERSIONS, Celery, pythonBin, TRACED } from './support/celery.ts'

const APP = fileURLToPath(new URL('../integration/runtime/fixtures/reporting-app.ts', import.meta.url))
const get = { timeoutSeconds: 30 }

recordSpans('')

describe.each(CELERY_VERSIONS)('Celery %s with OpenTelemetry:', (version) => {
  let redis: RedisServer
  let celery: Celery
  let app: TaskApp
  let folder: string
  let spans: string

  beforeAll(async () => {
    const bin = await pythonBin(TRACED(version))
    redis = await startRedis()
    folder = await mkdtemp(join(tmpdir(), 'taskqueue-traces-'))
    spans = join(folder, 'spans')
    recordInto(spans)
    app = new TaskApp({ name: 'web', env: { TASKQUEUE_BROKER_URL: redis.url } })
    opentelemetry(app)
    celery = new Celery(bin, redis.url, { SPANS: spans })
    const env = { TASKQUEUE_BROKER_URL: redis.url }
    const traced = launch(['worker', '--app', APP, '--queues', 'node'], { ...env, SPANS: spans })
    const plain = launch(['worker', '--app', APP, '--queues', 'plain'], env)
    await Promise.all([celery.worker('py'), ...[traced, plain].map((worker) => worker.event('broker-connected'))])
  }, 400_000)
  afterAll(async () => {
    await Promise.all([endAll(), celery.close(), app.close()])
    await redis.close()
    await rm(folder, { recursive: true, force: true })
  })
  /** The spans of one trace, each the child of the one before it, as soon as they are there. */
  function line(...names: readonly string[]): Promise<SpanLine[]> {
    return until(`there are ${names.join(' > ')}: ${JSON.stringify(spansIn(spans))}`, () => {
      const all = spansIn(spans)
      const from = (parent: SpanLine | undefined, [name, ...rest]: readonly string[]): SpanLine[] | undefined => {
        if (name === undefined) return []
        for (const span of all) {
          if (span.name !== name || (parent && span.parentId !== parent.spanId)) continue
          const further = from(span, rest)
          if (further) return [span, ...further]
        }
        return undefined
      }
      return from(undefined, names)
    })
  }

  it("an HTTP request, its Python task, that one's Node task and its Python child are one trace", async () => {
    const server = createServer((_request, response) => {
      const span = trace.getTracer('test').startSpan('GET /report', { kind: SpanKind.SERVER })
      context.with(trace.setSpan(context.active(), span), () => {
        const nested = ['py.add', [1, 2], 'py']
        void app.send('py.relay', ['r.send', nested, 'node'], { queue: 'py' }).then(({ id }) => {
          span.end()
          response.end(id)
        })
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    await (await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)).text()
    server.close()
    const found = await line(
      ...['GET /report', 'apply_async/py.relay', 'run/py.relay', 'apply_async/r.send', 'run/r.send'],
      ...['apply_async/py.add', 'run/py.add'],
    )
    expect(new Set(found.map(({ traceId }) => traceId)).size).toBe(1)
    expect(found.map(({ kind }) => kind)).toEqual([
      ...['SERVER', 'PRODUCER', 'CONSUMER', 'PRODUCER', 'CONSUMER', 'PRODUCER', 'CONSUMER'],
    ])
    const [, , python, , node] = found
    expect(python?.pid).not.toBe(node?.pid)
    // What one searches by is named alike.
    const shared = [
      'celery.action',
      'celery.task_name',
      'celery.hostname',
      'messaging.message.id',
      'messaging.destination',
    ]
    for (const span of [python, node])
      expect(Object.keys(span?.attributes ?? {})).toEqual(expect.arrayContaining(shared))
  })

  it("a Python producer's chain, through Node and back, with a retry on the way", async () => {
    const id = await celery.python(
      "from celery import chain\nr = chain(app.signature('py.add', (1, 2), queue='py'), app.signature('r.flaky', immutable=True, queue='node'), app.signature('py.add', (5,), queue='py'))()\nprint(json.dumps(r.id))",
    )
    expect(await app.result(String(id)).get(get)).toBe(7)
    const found = await line(
      ...['apply_async/py.add', 'run/py.add', 'apply_async/r.flaky', 'run/r.flaky', 'apply_async/r.flaky'],
      ...['run/r.flaky', 'apply_async/py.add', 'run/py.add'],
    )
    expect(new Set(found.map(({ traceId }) => traceId)).size).toBe(1)
    expect(found[0]?.parentId).toBeNull()
  })

  it('a Node worker without OpenTelemetry between two Python tasks hands the trace on', async () => {
    const nested = ['py.add', [1, 2], 'py']
    await app.send('py.relay', ['r.send', nested, 'plain'], { queue: 'py' })
    // The last one's parent is the sending of the one before it, of which there is no span.
    const found = await line('apply_async/py.relay', 'run/py.relay', 'apply_async/r.send', 'run/py.add')
    expect(new Set(found.map(({ traceId }) => traceId)).size).toBe(1)
  })
})
