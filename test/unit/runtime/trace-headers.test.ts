// What a message carries of a trace, and from where to where it goes: without a broker, and without OpenTelemetry.
import { describe, expect, it } from 'vitest'
import { TaskApp } from '../../../src/runtime/app.ts'
import { asTask, currentTask } from '../../../src/runtime/current-task.ts'
import { decodeEnvelope } from '../../../src/runtime/protocol/envelope.ts'
import { decodeTask, encodeTask } from '../../../src/runtime/protocol/task-message.ts'
import { traceHeaders } from '../../../src/runtime/trace-headers.ts'
import { retryPublication } from '../../../src/runtime/worker/outcome.ts'
import type { Tracing } from '../../../src/runtime/tracing.ts'

const CARRIED = { traceparent: '00-aa-bb-01', tracestate: 'v=1', baggage: 'tenant=blue' }
const parent = { id: 'parent', rootId: 'root', trace: CARRIED, logFields: {}, fail: () => false }
const app = new TaskApp({ name: 'test', env: {} })

const messageOf = (raw: string) => decodeTask(decodeEnvelope(raw, { maxBodyBytes: 10_000 }))

describe('the headers of a trace', () => {
  it('are the three of W3C, when they are text', () => {
    expect(traceHeaders({ ...CARRIED, id: 'x', task: 'y' })).toEqual(CARRIED)
    expect(traceHeaders({ traceparent: 7, tracestate: '', baggage: null })).toEqual({})
    expect(traceHeaders({ tracestate: 'alone' })).toEqual({})
  })

  it('go from a task to those that it sends, with its id and its root', () => {
    const inner = asTask(parent, () => messageOf(app.prepare('child', []).publication.raw))
    expect(inner).toMatchObject({ rootId: 'root', parentId: 'parent', headers: CARRIED })
    const outer = messageOf(app.prepare('child', []).publication.raw)
    expect(outer.headers).not.toHaveProperty('traceparent')
    expect(outer).toMatchObject({ rootId: outer.id, parentId: undefined })
    expect(currentTask()).toBeUndefined()
  })

  it('that the caller names go before those of the task that calls, as a whole', () => {
    const own = { traceparent: '00-cc-dd-01' }
    const { headers } = asTask(parent, () => messageOf(app.prepare('child', [], { headers: own }).publication.raw))
    expect(traceHeaders(headers)).toEqual(own)
  })

  it('go into the next attempt, unless its sending has a span of its own', () => {
    const { raw } = encodeTask({ id: 'a', task: 't', args: [], queue: 'q', headers: CARRIED })
    const at = { dueAt: 2000, now: 1000 }
    expect(messageOf(retryPublication(messageOf(raw), 'q', at).raw).headers).toMatchObject(CARRIED)
    const next = retryPublication(messageOf(raw), 'q', at, { traceparent: '00-ee-ff-01' })
    expect(messageOf(next.raw).headers).toMatchObject({ ...CARRIED, traceparent: '00-ee-ff-01' })
  })

  it('come from the span of the sending, which ends also when there is nothing to send', () => {
    const ended: unknown[] = []
    const tracing: Tracing = {
      send: () => ({ headers: { traceparent: '00-11-22-01' }, end: (error) => void ended.push(error) }),
      run: () => ({ headers: {}, within: (run) => run(), end: () => undefined }),
      resume: (_headers, run) => run(),
    }
    const traced = new TaskApp({ name: 'traced', env: {} })
    traced.trace(tracing)
    const { publication, span } = traced.prepare('child', [], { headers: CARRIED })
    expect(messageOf(publication.raw).headers).toMatchObject({ ...CARRIED, traceparent: '00-11-22-01' })
    span?.end()
    expect(() => traced.prepare('child', [10n])).toThrow(expect.objectContaining({ code: 'ArgumentsNotJson' }) as Error)
    expect(ended).toEqual([undefined, expect.objectContaining({ code: 'ArgumentsNotJson' })])
    expect(() => traced.trace(tracing)).toThrow(expect.objectContaining({ code: 'TracingTwice' }) as Error)
  })
})
