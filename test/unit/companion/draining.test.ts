// How the companion has a Celery worker take nothing and take again, on a worker whose answers the test gives. That a real one does it is
// shown in test/conformance.
import { describe, expect, it } from 'vitest'
import { CeleryDrain } from '../../../src/companion/draining.ts'
import type { Pidbox } from '../../../src/companion/pidbox.ts'
import { settle } from '../../fixtures/clock.ts'

/** A worker that consumes these queues and runs these tasks. */
class Worker {
  queues: string[]
  reserved = 0
  active = 0
  silent = false
  readonly asked: string[] = []

  constructor(...queues: string[]) {
    this.queues = queues
  }

  get pidbox(): Pidbox {
    const ask = (method: string, { queue = '' }: { queue?: string } = {}): Promise<unknown> => {
      this.asked.push(method)
      if (this.silent) return Promise.resolve(undefined)
      if (method === 'cancel_consumer') this.queues = this.queues.filter((name) => name !== queue)
      if (method === 'add_consumer') this.queues = [...this.queues, queue]
      if (method === 'active_queues') return Promise.resolve(this.queues.map((name) => ({ name })))
      if (method === 'reserved') return Promise.resolve(Array(this.reserved).fill({}))
      return Promise.resolve(method === 'active' ? Array(this.active).fill({}) : { ok: 'done' })
    }
    return { ask } as unknown as Pidbox
  }
}

async function follow(drain: CeleryDrain, wanted: boolean, times = 1): Promise<void> {
  for (let i = 0; i < times; i++) {
    drain.follow(wanted)
    for (let turn = 0; turn < 5; turn++) await settle()
  }
}

const QUIET = (): void => undefined

describe('a Celery worker whose pod is to go', () => {
  it('is told to take nothing only after its queues have been told, and tells what it has in hand', async () => {
    const worker = new Worker('a', 'b')
    const drain = new CeleryDrain(worker.pidbox, QUIET)
    await follow(drain, true)
    expect([worker.queues, drain.state]).toEqual([['a', 'b'], { draining: false, busy: 0, queues: ['a', 'b'] }])
    worker.reserved = 2
    worker.active = 1
    await follow(drain, true)
    expect([worker.queues, drain.state]).toEqual([[], { draining: true, busy: 3, queues: ['a', 'b'] }])
    // A task that begins between the two questions is in the first answer.
    expect(worker.asked.lastIndexOf('reserved')).toBeLessThan(worker.asked.lastIndexOf('active'))
  })

  it('that does not answer any more, or takes again after a restart of its own, is not said to drain', async () => {
    const worker = new Worker('a')
    const drain = new CeleryDrain(worker.pidbox, QUIET)
    await follow(drain, true, 2)
    expect(drain.state).toMatchObject({ draining: true })
    worker.silent = true
    await follow(drain, true)
    expect(drain.state).toMatchObject({ draining: false, queues: ['a'] })
    worker.silent = false
    worker.queues = ['a']
    await follow(drain, true)
    expect([worker.queues, drain.state]).toMatchObject([[], { draining: true }])
  })

  it('takes again when it stays, and again whenever it has forgotten its queues, whoever is restarted', async () => {
    const worker = new Worker('a', 'b')
    const drain = new CeleryDrain(worker.pidbox, QUIET)
    await follow(drain, true, 2)
    await follow(drain, false)
    expect([worker.queues, drain.state]).toMatchObject([['a', 'b'], { draining: false }])
    worker.queues = []
    await follow(drain, false)
    expect(worker.queues).toEqual(['a', 'b'])
    worker.queues = []
    const next = new CeleryDrain(worker.pidbox, QUIET)
    next.restore(drain.state?.queues ?? [])
    await follow(next, false)
    expect(worker.queues).toEqual(['a', 'b'])
  })

  it('that takes nothing by itself is left alone', async () => {
    const worker = new Worker()
    const drain = new CeleryDrain(worker.pidbox, QUIET)
    await follow(drain, true)
    expect(drain.state).toEqual({ draining: true, busy: 0, queues: [] })
    await follow(drain, false)
    expect([drain.state, worker.asked.includes('add_consumer')]).toEqual([undefined, false])
  })
})
