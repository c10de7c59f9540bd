// When a held event loop is a long task and when it is a stuck process.
import { describe, expect, it } from 'vitest'
import { LoopWatch, judgeLoop } from '../../../src/runtime/health/loop-judge.ts'
import { LoopNotes, loopMemory, type RunningTask } from '../../../src/runtime/health/loop-notes.ts'

const OWN = { ok: true, message: 'alive' }
const NO_TASK_MS = 30_000
const task = (ranSeconds: number, limitSeconds = Infinity, name = 'shop.send'): RunningTask => {
  return { task: name, id: 'a1', ranMs: ranSeconds * 1000, limitMs: limitSeconds * 1000 }
}

describe('a loop that turns', () => {
  it('lets its owner speak, whatever runs', () => {
    expect(judgeLoop(1000, [task(900, 10)], OWN, NO_TASK_MS)).toBe(OWN)
    const stuck = { ok: false, message: 'nothing was asked of the broker' }
    expect(judgeLoop(0, [], stuck, NO_TASK_MS)).toBe(stuck)
  })
})

describe('a loop that is held', () => {
  it('by a task within its limit, or without one, is alive, and the task is named', () => {
    const health = judgeLoop(8000, [task(9, 600)], OWN, NO_TASK_MS)
    expect(health).toMatchObject({ ok: true, detail: { heldSeconds: 8, tasks: [{ task: 'shop.send', seconds: 9 }] } })
    expect(health.message).toBe(
      'the event loop is held for 8 s, by shop.send (a1), which runs for 9 s; its limit is 600 s',
    )
    expect(judgeLoop(9_000_000, [task(9000)], OWN, NO_TASK_MS)).toMatchObject({
      ok: true,
      detail: { tasks: [{ limitSeconds: null }] },
    })
  })

  it('by a task beyond its limit is not alive, unless it may be another that has time left', () => {
    expect(judgeLoop(8000, [task(601, 600)], OWN, NO_TASK_MS).ok).toBe(false)
    const health = judgeLoop(8000, [task(9, 600, 'shop.new'), task(601, 600)], OWN, NO_TASK_MS)
    expect(health.ok).toBe(true)
    expect(health.message).toContain('by one of 2 tasks, of which shop.new (a1) began last')
  })

  it('by no task is not alive after the limit for that', () => {
    expect(judgeLoop(NO_TASK_MS, [], OWN, NO_TASK_MS).ok).toBe(true)
    expect(judgeLoop(NO_TASK_MS + 1, [], OWN, NO_TASK_MS)).toMatchObject({
      ok: false,
      message: 'the event loop is held for 30 s, and no task runs',
    })
  })
})

describe('the watch', () => {
  it('counts while nothing turns, and from nothing after a turn', () => {
    const watch = new LoopWatch()
    for (let at = 0; at <= 5000; at += 500) watch.look(1, 100_000 + at)
    expect(watch.look(1, 105_500).heldMs).toBe(5500)
    expect(watch.look(2, 106_000).heldMs).toBe(0)
  })

  it('takes a process that was stopped for no longer held than a moment', () => {
    const watch = new LoopWatch()
    watch.look(1, 0)
    watch.look(1, 500)
    expect(watch.look(1, 3_600_500)).toEqual({ heldMs: 1500, stoppedMs: 3_599_000 })
  })
})

describe('the notes', () => {
  it('tell in the other thread what runs, the last begun first, and forget what has ended', () => {
    const notes = new LoopNotes(loopMemory(4))
    const other = new LoopNotes(notes.memory)
    notes.turn()
    const first = notes.begin('a.first', 'id-1', undefined)
    const second = notes.begin('a.second', 'id-2', 5)
    expect(other.turns).toBe(1)
    expect(other.running().map(({ task, id, limitMs }) => [task, id, limitMs])).toEqual([
      ['a.second', 'id-2', 5000],
      ['a.first', 'id-1', Infinity],
    ])
    first()
    expect(other.running().map(({ id }) => id)).toEqual(['id-2'])
    second()
    expect(other.running()).toEqual([])
  })

  it('cut what is too long, and leave out what there is no room for', () => {
    const notes = new LoopNotes(loopMemory(2))
    const ends = ['ä'.repeat(300), 'b', 'c', 'd'].map((name) => notes.begin(name, 'x'.repeat(500), 1))
    expect(notes.running()).toHaveLength(2)
    expect(notes.running().map(({ task }) => task)).toContain('ä'.repeat(55))
    for (const end of ends) end()
    const again = ['e', 'f'].map((name) => notes.begin(name, '1', 1))
    expect(notes.running().length).toBeLessThanOrEqual(2)
    for (const end of again) end()
    expect(notes.running()).toEqual([])
  })

  it('count no time in which the process was stopped', () => {
    const notes = new LoopNotes(loopMemory(1))
    notes.begin('a', '1', 1)
    notes.noteStopped(60_000)
    expect(notes.running()[0]?.ranMs).toBeLessThan(-50_000)
  })
})
