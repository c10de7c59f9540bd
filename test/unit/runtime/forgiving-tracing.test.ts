import { expect, it } from 'vitest'
import { forgiving } from '../../../src/runtime/forgiving-tracing.ts'
import type { Tracing } from '../../../src/runtime/tracing.ts'

const broken = (): never => {
  throw new Error('no exporter')
}
const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
const sent = { id: 'i', task: 't', queue: 'q', retries: 0, scheduled: false }
const run = { id: 'i', task: 't', queue: 'q', retries: 0, headers: { traceparent }, workerName: 'w' }

it('a tracer that throws leaves no span, and the trace of the message as it is', () => {
  const tracing = forgiving({ send: broken, run: broken, resume: (_, act) => act() })
  const sending = tracing.send(sent)
  expect(sending.headers).toEqual({})
  sending.end()
  const running = tracing.run(run)
  expect(running.headers).toEqual({ traceparent })
  expect(running.within(() => 7)).toBe(7)
  running.end()
})

it("a span whose end throws costs nothing, and the task's own error comes through", () => {
  const half: Tracing = {
    send: () => ({ headers: { traceparent }, end: broken }),
    run: () => ({ headers: { traceparent }, within: (act) => act(), end: broken }),
    resume: (_, act) => act(),
  }
  const tracing = forgiving(half)
  const sending = tracing.send(sent)
  expect(sending.headers).toEqual({ traceparent })
  sending.end(new Error('refused'))
  const running = tracing.run(run)
  expect(() =>
    running.within(() => {
      throw new Error("the task's own")
    }),
  ).toThrow("the task's own")
  running.end()
})
