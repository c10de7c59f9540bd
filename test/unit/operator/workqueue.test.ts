import { describe, expect, it } from 'vitest'
import { Workqueue, type Outcome } from '../../../src/operator/kube/workqueue.ts'
import { ManualClock, settle } from '../../fixtures/clock.ts'

interface Call {
  key: string
  end: (outcome?: Outcome) => void
  fail: (error: Error) => void
}

function start(concurrency = 2): { queue: Workqueue; calls: Call[]; clock: ManualClock; retries: number[] } {
  const clock = new ManualClock()
  const calls: Call[] = []
  const retries: number[] = []
  const queue = new Workqueue(
    { concurrency },
    (key) =>
      new Promise((resolve, reject) => {
        calls.push({ key, end: (outcome = {}) => resolve(outcome), fail: reject })
      }),
    (_, __, retryInMs) => retries.push(retryInMs),
    clock,
  )
  return { queue, calls, clock, retries }
}

const call = (calls: Call[], at: number): Call => {
  const found = calls[at]
  if (!found) throw new Error(`there were only ${calls.length} calls`)
  return found
}

describe('the workqueue', () => {
  it('works on a key by one worker at a time and once more if it was added meanwhile', async () => {
    const { queue, calls } = start()
    queue.add('a')
    queue.add('a')
    queue.add('a')
    expect(calls.map((c) => c.key)).toEqual(['a'])
    call(calls, 0).end()
    await settle()
    expect(calls.map((c) => c.key)).toEqual(['a', 'a'])
    call(calls, 1).end()
    await settle()
    expect(calls).toHaveLength(2)
  })

  it('is bounded, and in order of arrival', async () => {
    const { queue, calls } = start(2)
    for (const key of ['a', 'b', 'c', 'd']) queue.add(key)
    expect(calls.map((c) => c.key)).toEqual(['a', 'b'])
    expect(queue.depth).toBe(2)
    call(calls, 1).end()
    await settle()
    expect(calls.map((c) => c.key)).toEqual(['a', 'b', 'c'])
  })

  it('brings a failing key back later and later, and at once again after a success', async () => {
    const { queue, calls, clock, retries } = start()
    queue.add('a')
    for (let attempt = 0; attempt < 3; attempt++) {
      call(calls, attempt).fail(new Error('no'))
      await settle()
      await clock.advance(retries.at(-1) ?? 0)
    }
    expect(retries).toEqual([50, 100, 200])
    call(calls, 3).end()
    await settle()
    queue.add('a')
    call(calls, 4).fail(new Error('no'))
    await settle()
    expect(retries.at(-1)).toBe(50)
  })

  it('never waits longer than its ceiling', async () => {
    const { queue, calls, clock, retries } = start()
    queue.add('a')
    for (let attempt = 0; attempt < 20; attempt++) {
      call(calls, attempt).fail(new Error('no'))
      await settle()
      await clock.advance(retries.at(-1) ?? 0)
    }
    expect(Math.max(...retries)).toBe(300_000)
  })

  it('comes back when the handler asks for it, by the earliest of several plans', async () => {
    const { queue, calls, clock } = start()
    queue.add('a')
    call(calls, 0).end({ requeueAfterMs: 1000 })
    await settle()
    queue.addAfter('a', 400)
    queue.addAfter('a', 5000)
    await clock.advance(399)
    expect(calls).toHaveLength(1)
    await clock.advance(1)
    expect(calls).toHaveLength(2)
    call(calls, 1).end()
    await clock.advance(10_000)
    expect(calls).toHaveLength(2)
  })

  it('stops after what is under way', async () => {
    const { queue, calls } = start(1)
    queue.add('a')
    queue.add('b')
    let stopped = false
    const stopping = queue.stop().then(() => {
      stopped = true
    })
    await settle()
    expect(stopped).toBe(false)
    call(calls, 0).end()
    await stopping
    expect(calls).toHaveLength(1)
  })
})
