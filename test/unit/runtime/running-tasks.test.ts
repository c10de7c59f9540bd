// The executions that a worker holds: found by their token, told in the order in which they began, whatever left before.

import { describe, expect, it } from 'vitest'
import type { DeliveryToken } from '../../../src/runtime/broker/transport.ts'
import type { Execution } from '../../../src/runtime/worker/execution.ts'
import { RunningTasks } from '../../../src/runtime/worker/running-tasks.ts'

const token = (name: string): DeliveryToken => name as DeliveryToken
/** What the list looks at of an execution. */
const execution = (name: string, startedAt: number): Execution =>
  ({ delivery: { token: token(name) }, startedAt, place: -1 }) as unknown as Execution
const names = (running: RunningTasks): string[] => [...running].map(({ delivery }) => delivery.token)

describe('running tasks', () => {
  it('are told in the order in which they began', () => {
    const [a, b, c, d] = [execution('a', 1), execution('b', 2), execution('c', 3), execution('d', 4)]
    const running = new RunningTasks()
    for (const one of [a, b, c, d]) running.add(one)
    running.remove(a)
    expect(names(running)).toEqual(['b', 'c', 'd'])
    expect(running.find(token('d'))).toBe(d)
    expect(running.find(token('a'))).toBeUndefined()
    running.remove(d)
    running.remove(b)
    expect(names(running)).toEqual(['c'])
    running.remove(c)
    expect([running.size, names(running)]).toEqual([0, []])
  })

  it('may end while they are gone through', () => {
    const running = new RunningTasks()
    for (let i = 0; i < 5; i++) running.add(execution(`t${i}`, i))
    const seen: string[] = []
    for (const one of running) {
      seen.push(one.delivery.token)
      running.remove(one)
    }
    expect(seen).toEqual(['t0', 't1', 't2', 't3', 't4'])
    expect(running.size).toBe(0)
  })
})
