// TaskApp without a broker: routing, limits and options of a call. prepare() makes the message that send() would publish.
import { describe, expect, it } from 'vitest'
import { TaskApp } from '../../../src/runtime/app.ts'
import type { SendOptions } from '../../../src/runtime/call.ts'
import { decodeEnvelope } from '../../../src/runtime/protocol/envelope.ts'
import { decodeTask, type TaskMessage } from '../../../src/runtime/protocol/task-message.ts'
import { code } from './support/usage-code.ts'

const NOW = Date.UTC(2026, 10, 25, 12)
const clock = { now: () => NOW, monotonic: () => 0, after: () => ({ cancel: () => undefined }) }

function appWith(env: Record<string, string> = {}): TaskApp {
  const app = new TaskApp({ name: 'orders', env, clock })
  app.task('orders.charge', { queue: 'payments', priority: 3 }, (_ctx, id: string) => id)
  app.task('orders.log', { ignoreResult: true }, () => undefined)
  return app
}

function sent(
  app: TaskApp,
  name: string,
  args: unknown[] = [],
  options: SendOptions = {},
): { queue: string; priority: number; message: TaskMessage } {
  const { publication } = app.prepare(name, args, options)
  return { ...publication, message: decodeTask(decodeEnvelope(publication.raw, { maxBodyBytes: 1e6 })) }
}

describe('where a call goes', () => {
  it('to the queue of the call, else of the task, else the default queue', () => {
    const app = appWith({ TASKQUEUE_DEFAULT_QUEUE: 'main' })
    expect(sent(app, 'orders.charge', [], { queue: 'vip' }).queue).toBe('vip')
    expect(sent(app, 'orders.charge').queue).toBe('payments')
    expect(sent(app, 'orders.log').queue).toBe('main')
    expect(sent(app, 'written.elsewhere').queue).toBe('main')
  })

  it('to the default queue only, in a Test environment, retries included', () => {
    const app = appWith({ TASKQUEUE_ENVIRONMENT: 'Test', TASKQUEUE_DEFAULT_QUEUE: 'sandbox' })
    expect(sent(app, 'orders.charge', [], { queue: 'vip' }).queue).toBe('sandbox')
    expect(app.route('payments')).toBe('sandbox')
  })
})

describe('what a call carries', () => {
  it('the arguments, the keyword arguments, the priority and the time', () => {
    const { priority, message } = sent(appWith(), 'orders.charge', ['A-17'], {
      kwargs: { dry: true },
      countdown: 30,
      expires: 60,
    })
    expect(priority).toBe(3)
    expect(message).toMatchObject({
      task: 'orders.charge',
      args: ['A-17'],
      kwargs: { dry: true },
      eta: NOW + 30_000,
      expires: NOW + 60_000,
      ignoreResult: false,
    })
  })

  it('the wish for no result, of the task or of the call', () => {
    expect(sent(appWith(), 'orders.log').message.ignoreResult).toBe(true)
    expect(sent(appWith(), 'orders.log', [], { ignoreResult: false }).message.ignoreResult).toBe(false)
  })

  it("headers of its own, but not the protocol's", () => {
    expect(sent(appWith(), 'orders.charge', [], { headers: { tenant: 'blue' } }).message.headers['tenant']).toBe('blue')
    expect(code(() => appWith().prepare('orders.charge', [], { headers: { retries: 0 } }))).toBe('OptionInvalid')
  })
})

describe('what a call is refused for', () => {
  it('eta and countdown together, an eta without an offset', () => {
    expect(code(() => appWith().prepare('t', [], { eta: '2026-12-01T00:00:00Z', countdown: 1 }))).toBe(
      'EtaAndCountdown',
    )
    expect(code(() => appWith().prepare('t', [], { eta: '2026-12-01T00:00:00' }))).toBe('EtaWithoutOffset')
    expect(code(() => appWith().prepare('t', [], { expires: '2026-12-01T00:00:00' }))).toBe('EtaWithoutOffset')
  })

  it('a payload above the limit, with the advice to pass an id; the limit can be set', () => {
    const big = ['x'.repeat(70_000)]
    expect(() => appWith().prepare('t', big)).toThrow(/pass its id/)
    expect(code(() => appWith().prepare('t', big))).toBe('PayloadTooLarge')
    expect(code(() => appWith({ TASKQUEUE_MAX_PAYLOAD_BYTES: '100000' }).prepare('t', big))).toBe('accepted')
  })

  it('a priority or a queue that the broker has no room for', () => {
    expect(code(() => appWith().prepare('t', [], { priority: 10 }))).toBe('OptionInvalid')
    expect(code(() => appWith().prepare('t', [], { queue: 'a b' }))).toBe('SettingInvalid')
  })
})

describe('naming tasks', () => {
  it('refuses two of one name, one without a handler, and nonsense in its options', () => {
    const app = appWith()
    expect(code(() => app.task('orders.log', () => undefined))).toBe('TaskTwice')
    expect(code(() => app.task('x', {}, undefined as never))).toBe('OptionInvalid')
    expect(code(() => app.task('y', { maxRetries: -1 }, () => undefined))).toBe('OptionInvalid')
    expect(code(() => app.task('y', { noRetryFor: ['TypeError'] as never }, () => undefined))).toBe('OptionInvalid')
    expect(code(() => app.task('y', { retryBackoff: 'never' as never }, () => undefined))).toBe('OptionInvalid')
  })

  it.each([
    { queues: [] },
    { queues: ['a b'] },
    { queues: Array.from({ length: 257 }, (_, n) => `q${n}`) },
    { concurrency: 0 },
    { concurrency: '8' as never },
    { resultTtlSeconds: 0 },
    { maxRetries: Number.NaN },
    { environment: 'test' as never },
    { acksLate: 'no' as never },
    { defaultQueue: '' },
  ])('refuses settings in code that a variable may not have either: %j', (options) => {
    expect(code(() => new TaskApp({ name: 'a', env: {}, ...options }))).toBe('SettingInvalid')
  })

  it('lets the command line win over code, and results follow the broker that it gives', () => {
    const app = new TaskApp({ name: 'a', env: {}, brokerUrl: 'redis://code', concurrency: 1 })
    app.override({ brokerUrl: 'redis://flag', concurrency: 3 })
    expect(app.settings).toMatchObject({ brokerUrl: 'redis://flag', resultUrl: 'redis://flag', concurrency: 3 })
    expect(code(() => app.override({ concurrency: 0 }))).toBe('SettingInvalid')
  })

  it('takes options in code over variables, and lets results follow a broker given in code', () => {
    const app = new TaskApp({
      name: 'a',
      env: { TASKQUEUE_MAX_RETRIES: '9' },
      maxRetries: 1,
      brokerUrl: 'redis://elsewhere/2',
    })
    expect(app.settings).toMatchObject({
      maxRetries: 1,
      brokerUrl: 'redis://elsewhere/2',
      resultUrl: 'redis://elsewhere/2',
    })
  })
})
