// Traces: what a message carries of one goes from task to task, with OpenTelemetry's real SDK and without any.
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { context, SpanKind, trace } from '@opentelemetry/api'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { TaskApp } from '../../../src/runtime/app.ts'
import { opentelemetry } from '../../../src/runtime/opentelemetry/index.ts'
import { decodeEnvelope } from '../../../src/runtime/protocol/envelope.ts'
import { encodeTask } from '../../../src/runtime/protocol/task-message.ts'
import { endAll, launch, run, type Process } from '../../fixtures/command.ts'
import { complaints } from '../../fixtures/log-schema.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'
import { recordInto, recordSpans, spansIn, type SpanLine } from './support/spans.ts'

const APP = fileURLToPath(new URL('fixtures/reporting-app.ts', import.meta.url))
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT = `00-${TRACE}-00f067aa0ba902b7-01`
const CARRIED = { traceparent: PARENT, tracestate: 'vendor=1', baggage: 'tenant=blue' }

let redis: RedisServer
let folder: string
let spans: string
let plain: TaskApp

beforeAll(async () => {
  redis = await startRedis()
  folder = await mkdtemp(join(tmpdir(), 'taskqueue-tracing-'))
  spans = join(folder, 'own')
  recordSpans(spans)
})
afterAll(async () => {
  await redis.close()
  await rm(folder, { recursive: true, force: true })
})
beforeEach(async () => {
  spans = await mkdtemp(join(folder, 'spans-')).then((made) => join(made, 'spans'))
  plain = new TaskApp({ name: 'plain', env: { TASKQUEUE_BROKER_URL: redis.url } })
})
afterEach(async () => {
  await endAll()
  await plain.close()
  await redis.client.flushall()
})

async function start(env: Record<string, string> = {}, ...args: string[]): Promise<Process> {
  const worker = launch(['worker', '--app', APP, ...args], { TASKQUEUE_BROKER_URL: redis.url, ...env })
  await worker.event('broker-connected')
  return worker
}

const get = { timeoutSeconds: 15 }
const named = (name: string, found = spansIn(spans)): SpanLine[] => found.filter((span) => span.name === name)
const seen = (name: string, count = 1): Promise<SpanLine[]> =>
  until(`${count} spans ${name}; there are ${JSON.stringify(spansIn(spans))}`, () => {
    const found = named(name)
    return found.length >= count && found
  })

describe('without OpenTelemetry', () => {
  it('its export says what to install, and nothing else needs it', async () => {
    // The package as it is installed, beside all of its dependencies but that one.
    const modules = join(folder, 'bare', 'node_modules')
    const home = join(modules, '@taskqueue', 'runtime')
    const source = fileURLToPath(new URL('../../../src/runtime/', import.meta.url))
    await mkdir(join(home, 'dist'), { recursive: true })
    await cp(join(source, 'dist'), join(home, 'dist'), { recursive: true })
    await cp(join(source, 'package.json'), join(home, 'package.json'))
    const installed = fileURLToPath(new URL('../../../node_modules/', import.meta.url))
    for (const name of await readdir(installed))
      if (!name.startsWith('.') && !name.startsWith('@opentelemetry') && name !== '@taskqueue')
        await symlink(join(installed, name), join(modules, name))
    const script = join(folder, 'bare', 'script.mjs')
    const lines = [
      "import { TaskApp } from '@taskqueue/runtime'",
      "import { opentelemetry } from '@taskqueue/runtime/opentelemetry'",
      "const app = new TaskApp({ name: 'bare', env: {} })",
      'try { opentelemetry(app) } catch ({ code, message }) { console.log(JSON.stringify({ code, message })) }',
    ]
    await writeFile(script, lines.join('\n'))
    const { stdout } = await promisify(execFile)(process.execPath, [script])
    expect(JSON.parse(stdout)).toEqual({
      code: 'OpenTelemetryMissing',
      message: expect.stringContaining('npm install @opentelemetry/api') as string,
    })
  })

  it.each(['async', 'threads'])('a trace goes on to children, unread and untouched (%s)', async (pool) => {
    await start({}, '--pool', pool)
    const sent = await plain.send('r.parent', [['r.ok']], { headers: CARRIED })
    const { headers, sent: children } = (await sent.get(get)) as { headers: object; sent: [string] }
    expect(headers).toMatchObject({ ...CARRIED, root_id: sent.id, parent_id: null })
    expect(await plain.result(children[0]).get(get)).toMatchObject({
      ...CARRIED,
      root_id: sent.id,
      parent_id: sent.id,
    })
    // Another task that comes later is no part of it.
    const other = (await (await plain.send('r.ok')).get(get)) as object
    expect(other).not.toHaveProperty('traceparent')
  })

  it('to retries, to what follows in a canvas, and to a dead letter that is tried again', async () => {
    await start()
    const flaky = await plain.send('r.flaky', [], { headers: CARRIED })
    expect(await flaky.get(get)).toBe(2)
    // What a Python producer sends for a chain: its first message, with the rest in the body.
    const rest = { ...plain.signature('r.ok').alone().signature, options: { task_id: 'the-end' } }
    const chain = encodeTask({
      ...{ id: 'the-start', task: 'r.flaky', args: [], queue: 'celery', headers: CARRIED },
      embed: { callbacks: null, errbacks: null, chain: [rest], chord: null },
    })
    await redis.client.lpush('celery', chain.raw)
    const end = { ...CARRIED, parent_id: 'the-start', root_id: 'the-start' }
    expect(await plain.result('the-end').get(get)).toMatchObject(end)
    const dead = await plain.send('r.unheard-of', [], { headers: CARRIED })
    await until('it is dead', async () => (await plain.store.listDeadLetters(1)).length === 1)
    const env = { TASKQUEUE_BROKER_URL: redis.url }
    expect(await run(['dead', 'retry', dead.id, '--to-queue', 'aside'], env)).toMatchObject({ code: 0 })
    const raw = (await redis.client.lindex('aside', 0)) ?? ''
    const { headers } = decodeEnvelope(raw, { maxBodyBytes: 1_000_000 }) as { headers: object }
    expect(headers).toMatchObject(CARRIED)
  })
})

describe('with OpenTelemetry', () => {
  let app: TaskApp
  let server: Server

  beforeEach(() => {
    recordInto(spans)
    app = new TaskApp({ name: 'web', env: { TASKQUEUE_BROKER_URL: redis.url } })
    opentelemetry(app)
    server = createServer((request, response) => {
      const tracer = trace.getTracer('test')
      const span = tracer.startSpan('GET /', { kind: SpanKind.SERVER })
      context.with(trace.setSpan(context.active(), span), () => {
        void app.send(request.url?.slice(1) ?? '', [], { headers: { mine: 'x' } }).then(({ id }) => {
          span.end()
          response.end(id)
        })
      })
    })
  })
  afterEach(async () => {
    server.close()
    await app.close()
  })

  async function request(task: string): Promise<string> {
    if (!server.listening) await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    return (await fetch(`http://127.0.0.1:${port}/${task}`)).text()
  }

  it.each(['async', 'threads'])('one trace goes from a request through retries to the end (%s)', async (pool) => {
    const worker = await start({ SPANS: spans }, '--pool', pool)
    const id = await request('r.flaky')
    expect(await plain.result(id).get(get)).toBe(2)
    const [first, second] = await seen('run/r.flaky', 2)
    const [server] = await seen('GET /')
    const [sent, again] = await seen('apply_async/r.flaky', 2)
    expect(new Set(spansIn(spans).map(({ traceId }) => traceId)).size).toBe(1)
    expect(sent).toMatchObject({ kind: 'PRODUCER', parentId: server?.spanId, status: 'UNSET' })
    expect(first).toMatchObject({ kind: 'CONSUMER', parentId: sent?.spanId, status: 'UNSET' })
    expect(again).toMatchObject({ kind: 'PRODUCER', parentId: first?.spanId })
    expect(second).toMatchObject({ kind: 'CONSUMER', parentId: again?.spanId, status: 'UNSET', events: [] })
    expect(sent?.attributes).toMatchObject({
      'messaging.system': 'celery',
      'messaging.operation.name': 'apply_async',
      'messaging.operation.type': 'send',
      'messaging.destination.name': 'celery',
      'messaging.message.id': id,
      'celery.action': 'apply_async',
      'celery.task_name': 'r.flaky',
    })
    expect(first?.attributes).toMatchObject({
      'messaging.operation.type': 'process',
      'celery.action': 'run',
      'celery.hostname': expect.stringMatching(/^celery@/) as string,
      'celery.retry.reason': 'once',
    })
    expect(first?.events).toMatchObject([{ name: 'retry', attributes: { 'exception.type': 'TypeError' } }])
    expect(second?.attributes).toMatchObject({ 'celery.retries': 1 })
    const lines = worker.lines().filter(({ taskId }) => taskId === id)
    expect(lines.map(({ event }) => event)).toEqual(['own', 'task-retried', 'own'])
    expect(complaints(worker.lines())).toEqual([])
    for (const line of lines) expect(line['traceId']).toBe(server?.traceId)
    expect(lines.map(({ spanId }) => spanId)).toEqual([first?.spanId, first?.spanId, second?.spanId])
    // What the worker says of itself is part of no trace.
    worker.signal('SIGTERM')
    await worker.exit()
    expect(worker.lines().filter((line) => line['traceId'] !== undefined && line['taskId'] === undefined)).toEqual([])
  })

  it.each(['async', 'threads'])('children and what follows have the attempt as their parent (%s)', async (pool) => {
    await start({ SPANS: spans }, '--pool', pool)
    const made = await app.send('r.send', ['r.ok', [], 'celery'])
    const child = (await made.get(get)) as string
    expect(await plain.result(child).get(get)).toMatchObject({ root_id: made.id, parent_id: made.id })
    const [send] = await seen('run/r.send')
    const [ran] = await seen('run/r.ok')
    const [out] = await seen('apply_async/r.ok')
    expect(out).toMatchObject({ parentId: send?.spanId, traceId: send?.traceId })
    expect(ran).toMatchObject({ parentId: out?.spanId, traceId: send?.traceId })
    await app.chain(app.signature('r.hold', [1]), app.signature('r.ok').alone()).delay()
    const [hold] = await seen('run/r.hold')
    const [, followed] = await seen('apply_async/r.ok', 2)
    const [, follower] = await seen('run/r.ok', 2)
    expect(followed).toMatchObject({ parentId: hold?.spanId, traceId: hold?.traceId })
    expect(follower).toMatchObject({ parentId: followed?.spanId, traceId: hold?.traceId })
  })

  it('the exception of a task that fails for good is on its span', async () => {
    const worker = await start({ SPANS: spans })
    const sent = await app.send('r.fail')
    await expect(sent.get(get)).rejects.toThrow(/attempt 2/)
    const [first, last] = await seen('run/r.fail', 2)
    expect(first).toMatchObject({ status: 'UNSET', events: [{ name: 'retry' }] })
    expect(last).toMatchObject({
      status: 'ERROR',
      events: [
        { name: 'exception', attributes: { 'exception.type': 'TypeError', 'exception.message': 'attempt 2' } },
        { name: 'dead', attributes: { 'taskqueue.dead.reason': 'RetriesSpent', 'taskqueue.dead_letter': sent.id } },
      ],
    })
    await app.send('r.unheard-of')
    const [alone] = await seen('taskqueue dead')
    expect(alone).toMatchObject({ status: 'ERROR', parentId: null })
    // It was taken when the one before it had ended, and is no part of its trace.
    const line = await until('its line is written', () =>
      worker.lines().find(({ task, event }) => task === 'r.unheard-of' && event === 'task-failed'),
    )
    expect(line).not.toHaveProperty('traceId')
  })

  it('each slot of a schedule begins a trace', async () => {
    const schedules = join(folder, 'schedules.yaml')
    await writeFile(schedules, 'schedules: [{name: tick, task: r.ok, everySeconds: 1}]\n')
    await start({ SPANS: spans })
    launch(['beat', '--app', APP, '--schedules', schedules], { TASKQUEUE_BROKER_URL: redis.url, SPANS: spans })
    const runs = await seen('run/r.ok', 2)
    const sent = await seen('apply_async/r.ok', 2)
    expect(sent.map(({ parentId }) => parentId)).toEqual(sent.map(() => null))
    expect(new Set(runs.map(({ traceId }) => traceId)).size).toBe(runs.length)
    for (const { parentId } of runs) expect(sent.map(({ spanId }) => spanId)).toContain(parentId)
  })

  it('a sending that fails is told on its span', async () => {
    const away = new TaskApp({ name: 'away', brokerUrl: 'redis://127.0.0.1:1/0', env: {} })
    opentelemetry(away)
    await expect(away.send('r.ok')).rejects.toThrow()
    expect((await seen('apply_async/r.ok'))[0]).toMatchObject({ status: 'ERROR', events: [{ name: 'exception' }] })
    await away.close()
    expect(() => opentelemetry(away)).toThrow(expect.objectContaining({ code: 'TracingTwice' }) as Error)
  })
})
