// Tasks that run where they are called: the eager mode, for unit tests of applications.
import { describe, expect, it } from 'vitest'
import { TaskApp } from '../../../src/runtime/app.ts'
import { PermanentError } from '../../../src/runtime/task.ts'

/** No broker is there: the URL leads nowhere. */
function eagerApp(): TaskApp {
  return new TaskApp({ name: 'test', eager: true, logLevel: 'silent', brokerUrl: 'redis://127.0.0.1:1/0', env: {} })
}

describe('an eager app', () => {
  it('runs a call before it returns, and gives its result as JSON gives it', async () => {
    const app = eagerApp()
    const seen: unknown[] = []
    const add = app.task('add', (ctx, a: number, b: number) => {
      seen.push([ctx.attempt, ctx.kwargs])
      return { sum: a + b, at: new Date(0), nothing: undefined }
    })
    const sent = await add.applyAsync([1, 2], { kwargs: { x: 1 }, countdown: 3600 })
    expect(seen).toEqual([[1, { x: 1 }]])
    expect(await sent.get()).toEqual({ sum: 3, at: '1970-01-01T00:00:00.000Z' })
    expect(await app.result(sent.id).state()).toBe('SUCCESS')
    await app.close()
  })

  it('retries at once, and fails as a worker would', async () => {
    const app = eagerApp()
    const attempts: number[] = []
    const flaky = app.task('flaky', { maxRetries: 2 }, (ctx, succeedsAt: number) => {
      attempts.push(ctx.attempt)
      if (ctx.attempt < succeedsAt) throw new TypeError('not yet')
      return ctx.attempt
    })
    const final = app.task('final', () => {
      throw new PermanentError('no')
    })
    expect(await (await flaky.delay(3)).get()).toBe(3)
    await expect((await flaky.delay(9)).get()).rejects.toMatchObject({
      code: 'TaskFailed',
      message: expect.stringContaining('TypeError: not yet') as string,
    })
    expect(attempts).toEqual([1, 2, 3, 1, 2, 3])
    await expect((await final.delay()).get()).rejects.toMatchObject({ code: 'TaskFailed' })
    await expect((await app.send('unheard-of')).get()).rejects.toThrow(/NotRegistered/)
  })

  it('runs tasks that tasks call, chains, groups and chords, and what is linked', async () => {
    const app = eagerApp()
    const add = app.task('add', (_ctx, a: number, b: number) => a + b)
    const sum = app.task('sum', (_ctx, values: number[]) => values.reduce((a, b) => a + b, 0))
    const outer = app.task('outer', async () => (await (await add.delay(20, 1)).get()) * 2)
    const heard: string[] = []
    const remember = app.task('remember', (_ctx, id: string) => void heard.push(id))
    const fail = app.task('fail', { maxRetries: 0 }, () => {
      throw new Error('no')
    })
    expect(await (await outer.delay()).get()).toBe(42)
    expect(await (await app.chain(add.s(1, 2), add.s(3), add.s(4)).delay()).get()).toBe(10)
    expect(await (await app.group(add.s(1, 1), add.s(2, 2)).delay()).get()).toEqual([2, 4])
    const chord = app.chord([add.s(1, 1), app.chain(add.s(2, 2), add.s(1))], sum.s())
    expect(await (await chord.delay()).get()).toBe(7)
    const echo = app.task('echo', (_ctx, ...args: unknown[]) => args)
    const nested = app.chord([app.chain(add.s(1, 1), app.group(add.s(10), add.s(20))), add.s(5, 5)], echo.s())
    expect(await (await nested.delay()).get()).toEqual([[[12, 22], 10]])
    const failing = await app
      .chord([add.s(1, 1), fail.s()], sum.s())
      .linkError(remember.s())
      .delay()
    await expect(failing.get()).rejects.toThrow(/ChordError/)
    expect(heard).toHaveLength(1)
  })

  it('checks arguments, opens and closes what hooks open', async () => {
    const app = eagerApp()
    const order: string[] = []
    app.onStart(() => void order.push('start'))
    app.onStop(() => void order.push('stop'))
    const argsSchema = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: (value: unknown) =>
          Array.isArray(value) && value[0] === 1 ? { value: ['one'] } : { issues: [{ message: 'no', path: [0] }] },
      },
    }
    const checked = app.task('checked', { argsSchema }, (_ctx, ...args: unknown[]) => void order.push(String(args[0])))
    await checked.delay(1)
    await expect((await checked.delay(2)).get()).rejects.toThrow(/ArgumentsInvalid: the arguments do not fit: 0: no/)
    await app.close()
    expect(order).toEqual(['start', 'one', 'stop'])
  })

  it('lets a message expire, and keeps no result that is not wanted', async () => {
    const app = eagerApp()
    const add = app.task('add', (_ctx, a: number, b: number) => a + b)
    const late = await add.applyAsync([1, 2], { countdown: 10, expires: 5 })
    await expect(late.get()).rejects.toMatchObject({ code: 'TaskRevoked' })
    const unwanted = await add.applyAsync([1, 2], { ignoreResult: true })
    await expect(unwanted.get()).rejects.toMatchObject({ code: 'ResultNotStored' })
  })
})
