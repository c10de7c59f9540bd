// Listeners and error trackers of an app, in eager mode: what they are told, and what one that fails does not do.
import { describe, expect, it } from 'vitest'
import { TaskApp } from '../../../src/runtime/app.ts'
import { Listeners } from '../../../src/runtime/listeners.ts'
import { createLog, type Logger } from '../../../src/runtime/log.ts'
import type { AppEvents, ErrorReport } from '../../../src/runtime/reports.ts'
import { PermanentError } from '../../../src/runtime/task.ts'

function eagerApp(): TaskApp {
  return new TaskApp({ name: 'test', eager: true, logLevel: 'silent', brokerUrl: 'redis://127.0.0.1:1/0', env: {} })
}

function logInto(lines: Record<string, unknown>[]): Logger {
  const destination = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) }
  return createLog({ env: {}, destination })
}

const missed: AppEvents['missed'] = {
  ...{ schedule: 'tick', task: 'a', scheduledFor: new Date(0), latenessSeconds: 1, reason: 'late', count: 1 },
}

describe('an eager app', () => {
  it('tells what a worker would tell', async () => {
    const app = eagerApp()
    const told: ErrorReport[] = []
    app.track({ capture: (report) => told.push(report) })
    const fail = app.task('fail', { maxRetries: 1 }, (ctx) => {
      throw new TypeError(`attempt ${ctx.attempt}`)
    })
    const outer = app.task('outer', async () => (await fail.delay()).id)
    const { id } = await outer.delay()
    await app.send('unheard-of')
    const inner = told[0] as AppEvents['retry']
    expect(told.map(({ kind }) => kind)).toEqual(['retry', 'error', 'dead', 'dead'])
    expect(inner).toMatchObject({ rootId: id, parentId: id, attempt: 1, workerName: 'eager', willRetry: true })
    expect(inner.dueAt.getTime()).toBeGreaterThan(Date.now() - 1000)
    expect(inner.countdown).toBeGreaterThan(0)
    expect(told[1]).toMatchObject({ error: expect.any(TypeError) as Error, attempt: 2 })
    expect(told[2]).toMatchObject({ id: inner.id, deadLetter: inner.id, reason: 'RetriesSpent' })
    expect(told[3]).toMatchObject({ task: 'unheard-of', reason: 'NotRegistered' })
    await app.close()
  })

  it('tells nobody who was removed, and knows its events', async () => {
    const app = eagerApp()
    const heard: string[] = []
    const remove = app.on('error', () => heard.push('first'))
    const second = (): unknown => heard.push('second')
    app.on('error', second)
    const untrack = app.track({ capture: () => heard.push('tracker') })
    const fail = app.task('fail', () => {
      throw new PermanentError('no')
    })
    await fail.delay()
    remove()
    app.off('error', second)
    untrack()
    await fail.delay()
    expect(heard).toEqual(['first', 'second', 'tracker', 'tracker'])
    expect(() => app.on('eror' as 'error', () => undefined)).toThrow(
      expect.objectContaining({ code: 'OptionInvalid' }) as Error,
    )
    await app.close()
  })

  it('waits for its listeners when it is closed, and flushes its trackers after them', async () => {
    const app = eagerApp()
    const order: string[] = []
    app.on('dead', async () => {
      await new Promise((resolve) => setTimeout(resolve, 50))
      order.push('listener')
    })
    app.track({ capture: () => undefined, flush: () => Promise.resolve(order.push('flush')) })
    await app.send('unheard-of')
    expect(order).toEqual([])
    await app.close()
    expect(order).toEqual(['listener', 'flush'])
  })
})

describe('listeners', () => {
  it('that fail are logged one by one, and the others are told', async () => {
    const listeners = new Listeners()
    const lines: Record<string, unknown>[] = []
    const heard: unknown[] = []
    listeners.add('missed', () => {
      throw new Error('thrown')
    })
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- anything can be rejected with
    listeners.add('missed', () => Promise.reject('rejected'))
    listeners.add('missed', (report) => heard.push(report))
    listeners.track({ capture: () => undefined, flush: () => Promise.reject(new Error('no network')) })
    listeners.emit('missed', missed, logInto(lines))
    await listeners.settle(1000, logInto(lines))
    expect(heard).toEqual([missed])
    expect(lines.map(({ event, error }) => [event, (error as Error).message])).toEqual([
      ['listener-failed', 'thrown'],
      ['listener-failed', 'rejected'],
      ['listener-failed', 'no network'],
    ])
  })

  it('that never end are waited for no longer than is said', async () => {
    const listeners = new Listeners()
    const lines: Record<string, unknown>[] = []
    listeners.add('missed', () => new Promise(() => undefined))
    listeners.emit('missed', missed, logInto(lines))
    const from = performance.now()
    await listeners.settle(50, logInto(lines))
    expect(performance.now() - from).toBeLessThan(2000)
    expect(lines).toMatchObject([{ event: 'listener-failed', msg: expect.stringContaining('50 ms') as string }])
  })
})
