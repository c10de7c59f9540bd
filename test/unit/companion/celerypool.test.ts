// When the pool of a Celery worker counts as stuck, on looks and times that the test gives. That real workers say these things is shown in
// test/conformance.
import { describe, expect, it } from 'vitest'
import { PoolJudge, poolIn, tasksIn, type PoolLook, type PoolVerdict } from '../../../src/companion/celerypool.ts'

const LIMITS = { maxTaskSeconds: 60, stalledSeconds: 30 }
const tasks = (...ids: string[]): PoolLook['active'] => ids.map((id) => ({ id, task: 'shop.send' }))
const look = (active: string[], reserved: string[] = [], slots = 2): PoolLook => ({
  pool: { implementation: 'celery.concurrency.prefork:TaskPool', slots, prefetch: 8 },
  active: tasks(...active),
  reserved: tasks(...reserved),
})

/** Looks again and again, every 20 s. */
function looks(judge: PoolJudge, times: number, what: PoolLook, from = 0): PoolVerdict {
  let verdict = judge.judge(what, from)
  for (let i = 1; i < times; i++) verdict = judge.judge(what, from + i * 20_000)
  return verdict
}

describe('a pool', () => {
  it('all of whose slots are held beyond their time is dead', () => {
    const judge = new PoolJudge(LIMITS)
    expect(looks(judge, 4, look(['a', 'b'])).dead).toBeUndefined()
    const { dead, stuck } = judge.judge(look(['a', 'b']), 80_000)
    expect(dead).toContain('all 2 slots are held by tasks that run for more than 60 s')
    expect(stuck.map(({ id, seconds }) => [id, seconds])).toEqual([
      ['a', 80],
      ['b', 80],
    ])
  })

  it('with one task beyond its time is told of, and lives, beside a free slot and beside one that works', () => {
    for (const others of [[], ['x']]) {
      const judge = new PoolJudge(LIMITS)
      looks(judge, 5, look(['a']))
      const verdict = judge.judge(look(['a', ...others]), 100_000)
      expect(verdict).toMatchObject({ dead: undefined, stuck: [{ id: 'a', task: 'shop.send', seconds: 100 }] })
    }
  })

  it('that lets tasks wait beside free slots is dead after stalledSeconds, and not before', () => {
    const judge = new PoolJudge(LIMITS)
    expect(looks(judge, 2, look([], ['r'])).dead).toBeUndefined()
    expect(judge.judge(look([], ['r', 's']), 40_000).dead).toContain('2 tasks wait beside 2 free slots')
    // The same beside a task that is beyond its time and holds one of the slots.
    const other = new PoolJudge(LIMITS)
    looks(other, 5, look(['a'], []))
    expect(looks(other, 3, look(['a'], ['r']), 100_000).dead).toContain('1 tasks wait beside 1 free slots')
  })

  it('in which anything moves lives', () => {
    const judge = new PoolJudge(LIMITS)
    for (let i = 0; i < 20; i++) {
      // Another task waits at each look: the one before it has run.
      expect(judge.judge(look([], [`r${i}`]), i * 20_000).dead).toBeUndefined()
    }
    const busy = new PoolJudge(LIMITS)
    // One waits behind a task that is within its time: with -O default it is in that child's pipe.
    expect(looks(busy, 3, look(['a'], ['r'])).dead).toBeUndefined()
    const full = new PoolJudge({ ...LIMITS, maxTaskSeconds: 0 })
    expect(looks(full, 50, look(['a', 'b'], ['r', 's'])).dead).toBeUndefined()
  })

  it('is not judged by time in which nobody looked', () => {
    const judge = new PoolJudge(LIMITS)
    judge.judge(look(['a', 'b'], ['r']), 0)
    // The machine was suspended for a day.
    expect(judge.judge(look(['a', 'b'], ['r']), 86_400_000)).toMatchObject({ dead: undefined, stuck: [] })
  })

  it('without limits is never dead', () => {
    const judge = new PoolJudge({ maxTaskSeconds: 0, stalledSeconds: 0 })
    expect(looks(judge, 100, look(['a', 'b'], ['r']))).toMatchObject({ dead: undefined, stuck: [] })
    expect(looks(judge, 100, look([], ['r']))).toMatchObject({ dead: undefined, stuck: [] })
  })

  it('counts a task that is in both answers as one that runs', () => {
    const judge = new PoolJudge(LIMITS)
    expect(looks(judge, 3, look(['a'], ['a'])).dead).toBeUndefined()
    expect(judge.judge(look([], ['a']), 60_000).dead).toBeUndefined()
  })
})

describe('what a worker says', () => {
  it('of its pool is read, whatever it leaves out', () => {
    const pool = { implementation: 'p:P', 'max-concurrency': 2, processes: [1, 2, 3] }
    expect(poolIn({ pool, prefetch_count: 8 })).toEqual({ implementation: 'p:P', slots: 3, prefetch: 8 })
    expect(poolIn({ pool: { implementation: 'p:P' }, prefetch_count: 0 })).toEqual({
      implementation: 'p:P',
      slots: 1,
      prefetch: undefined,
    })
    for (const odd of [undefined, null, 'x', {}, { pool: 1 }, { error: 'no' }]) expect(poolIn(odd)).toBeUndefined()
  })

  it('of its tasks is read, and what is no task is left out', () => {
    const answer = [{ id: '1', name: 'a.b', type: 'c' }, { id: 2 }, null, { id: '3' }]
    expect(tasksIn(answer)).toEqual([
      { id: '1', task: 'a.b' },
      { id: '3', task: 'a task without a name' },
    ])
    for (const odd of [undefined, {}, { error: 'no' }]) expect(tasksIn(odd)).toBeUndefined()
  })
})
