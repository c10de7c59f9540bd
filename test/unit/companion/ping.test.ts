// What a probe is answered for what the worker says or does not say. That real workers behave so is shown in test/conformance.
import { beforeEach, describe, expect, it } from 'vitest'
import { PREFORK, SOLO, type PoolVerdict } from '../../../src/companion/celerypool.ts'
import { CeleryPing } from '../../../src/companion/ping.ts'

let now: number
let bound: boolean
let answers: boolean
let implementation: string | undefined
let verdict: PoolVerdict | undefined
let asked: number
let ping: CeleryPing

beforeEach(() => {
  now = 0
  bound = true
  answers = true
  implementation = undefined
  verdict = undefined
  asked = 0
  const pool = {
    get implementation(): string | undefined {
      return implementation
    },
    get verdict(): PoolVerdict | undefined {
      return verdict
    },
    refresh: () => undefined,
    silenced: () => undefined,
  }
  const ask = (): Promise<unknown> => {
    asked++
    return Promise.resolve(answers ? { ok: 'pong' } : undefined)
  }
  ping = new CeleryPing(
    { ask, bound: () => Promise.resolve(bound) },
    pool,
    { startSeconds: 240, reuseSeconds: 2, maxTaskSeconds: 600 },
    () => now,
  )
})

/** A probe, so many seconds after the one before it. */
async function probe(afterSeconds: number): Promise<string> {
  now += afterSeconds * 1000
  return (await ping.ask()).state
}

describe('a worker', () => {
  it('that answers and then does not is silent, also when the broker has lost its pidbox', async () => {
    implementation = PREFORK
    expect(await probe(5)).toBe('pong')
    answers = false
    expect(await probe(5)).toBe('silent')
    bound = false
    for (let i = 0; i < 60; i++) expect(await probe(10)).toBe('silent')
  })

  it('without a pidbox starts at first and is mute after a while; it is asked once it has one', async () => {
    bound = false
    for (let second = 5; second < 240; second += 5) expect(await probe(5)).toBe('starting')
    await probe(5)
    expect(await probe(5)).toBe('mute')
    expect(asked).toBe(0)
    bound = true
    expect(await probe(5)).toBe('pong')
  })

  it('that restarts again and again without a pidbox is never mute', async () => {
    bound = false
    for (let i = 0; i < 100; i++) {
      expect(await probe(5)).toBe('starting')
      // The back-off: nobody probes a container that isn't there.
      expect(await probe(60)).toBe('starting')
    }
  })

  it('whose pool is solo is mute rather than silent', async () => {
    implementation = SOLO
    expect(await probe(5)).toBe('pong')
    answers = false
    expect(await probe(5)).toBe('mute')
    implementation = PREFORK
    expect(await probe(5)).toBe('silent')
  })

  it.each([undefined, 'celery.concurrency.gevent:TaskPool'])(
    'whose pool is %s may be in a task that lets nobody in: it is silent after the longest that one may take',
    async (pool) => {
      implementation = pool
      answers = false
      for (let second = 0; second < 600; second += 10) expect(await probe(10)).toBe('mute')
      await probe(10)
      expect(await probe(10)).toBe('silent')
      answers = true
      expect(await probe(10)).toBe('pong')
      answers = false
      expect(await probe(10)).toBe('mute')
    },
  )

  it('that answers and whose pool does nothing is stuck; one whose pool still works tells what is late', async () => {
    const stuck = [{ id: 'a', task: 'shop.send', seconds: 700 }]
    verdict = { dead: undefined, stuck, suspicious: true }
    now += 5000
    expect(await ping.ask()).toMatchObject({ state: 'pong', note: expect.stringContaining('shop.send (a)') as string })
    verdict = { dead: 'all 1 slots are held', stuck, suspicious: true }
    now += 5000
    expect(await ping.ask()).toEqual({ state: 'stuck', why: 'all 1 slots are held' })
  })
})
