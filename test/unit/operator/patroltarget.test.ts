// What of a TaskQueue patrol judges, and how often.
import { describe, expect, it } from 'vitest'
import { Patrols } from '../../../src/operator/inspect/patrols.ts'
import { patrolTarget } from '../../../src/operator/inspect/patroltarget.ts'
import { systemClock } from '../../../src/operator/clock.ts'
import { beat, schedule, taskQueue } from '../../fixtures/taskqueues.ts'

const pool = (name: string, queues: string[] | undefined, autoscale?: { minReplicas: number }) => ({
  name,
  concurrency: 8,
  maxTaskSeconds: 600,
  probe: 'Companion' as const,
  ...(queues ? { queues } : {}),
  ...(autoscale
    ? { autoscale: { maxReplicas: 4, backlogPerReplica: 10, cooldownSeconds: 60, ...autoscale } }
    : { replicas: 1 }),
})

describe('patrol judges', () => {
  it('the queues of the pools, the default one where none is named', () => {
    const workers = [pool('a', ['mail', 'letters']), pool('b', ['mail']), pool('c', undefined)]
    expect(patrolTarget(taskQueue({ workers })).queues).toEqual(['mail', 'letters', 'default'])
    expect(patrolTarget(taskQueue({ workers, engine: 'Celery' })).queues).toEqual(['mail', 'letters', 'celery'])
  })

  it('no queue at once of which every pool begins at none', () => {
    const zero = { minReplicas: 0 }
    const workers = [
      pool('a', ['mail', 'letters'], zero),
      pool('b', ['mail'], { minReplicas: 1 }),
      pool('c', ['x'], zero),
    ]
    expect(patrolTarget(taskQueue({ workers })).startedByBacklog).toEqual(['letters', 'x'])
  })

  it('the schedules that beat fires, by where they are sent', () => {
    const schedules = [schedule({ name: 'a', everySeconds: 60, queue: 'mail', args: [{ large: 'x' }] })]
    const judged = (spec: Parameters<typeof taskQueue>[0]): unknown => patrolTarget(taskQueue(spec)).schedules
    const kept = { name: 'a', task: 't', everySeconds: 60, misfireGraceSeconds: 300, catchUp: 'Last' }
    expect(judged({ beat: beat({ schedules }) })).toEqual([{ ...kept, queue: 'mail' }])
    expect(judged({ beat: beat({ schedules }), environment: 'Test' })).toEqual([kept])
    expect(judged({})).toEqual([])
    expect(judged({ beat: beat({ schedules, scheduler: 'Celery' }) })).toEqual([])
    expect(judged({ beat: beat({ schedules }), suspend: true })).toEqual([])
    // Beat keeps the last good ones, which nobody knows here.
    expect(judged({ beat: beat({ schedules: [...schedules, schedule({ name: 'b', cron: 'soon' })] }) })).toEqual([])
  })
})

describe('patrol looks', () => {
  it.each([
    [10, 5_000],
    [20, 5_000],
    [40, 10_000],
    [59, 14_750],
    [60, 30_000],
    [86_400, 30_000],
  ])('with stalledSeconds %i every %i ms', (stalledSeconds, ms) => {
    const patrols = new Patrols(() => undefined, systemClock)
    const patrol = { idleQueueSeconds: 3600, stalledSeconds, restartStalled: true }
    patrols.follow('demo/orders', patrolTarget(taskQueue({ patrol })))
    expect(patrols.periodMs('demo/orders')).toBe(ms)
    patrols.forget('demo/orders')
    expect([patrols.periodMs('demo/orders'), [...patrols.figures()]]).toEqual([undefined, []])
  })
})
