import { Registry } from 'prom-client'
import { expect, it } from 'vitest'
import type { BrokerObservation } from '../../../src/operator/inspect/observation.ts'
import type { TaskQueue } from '../../../src/operator/taskqueue.ts'
import { registerTaskQueueMetrics } from '../../../src/operator/taskqueuemetrics.ts'
import { taskQueue } from '../../fixtures/taskqueues.ts'

const at = '2026-01-01T00:00:00Z'

function told(): TaskQueue {
  const queue = taskQueue()
  const condition = { reason: 'Any', message: 'any', lastTransitionTime: at }
  return {
    ...queue,
    status: {
      deadLetters: { count: 4 },
      pools: [{ name: 'default', ready: 1, wanted: 3 }],
      conditions: [
        { ...condition, type: 'Ready', status: 'False' },
        { ...condition, type: 'BrokerReachable', status: 'Unknown' },
      ],
    },
  }
}

const seen: BrokerObservation = {
  reachable: true,
  queues: new Map([['mail', { waiting: 5, inFlight: 2, parked: 1 }]]),
  foreignInFlight: 0,
  presence: [],
}

function registry(queues: TaskQueue[], broker: BrokerObservation | undefined): Registry {
  const made = new Registry()
  registerTaskQueueMetrics(made, { taskQueues: () => queues, latest: () => broker })
  return made
}

const samples = async (made: Registry): Promise<string[]> =>
  (await made.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))

it('tells conditions, pools and queues of each TaskQueue', async () => {
  const of = 'namespace="demo",taskqueue="orders"'
  expect(await samples(registry([told()], seen))).toEqual([
    `taskqueue_status_condition{${of},condition="Ready",status="False"} 1`,
    `taskqueue_status_condition{${of},condition="BrokerReachable",status="Unknown"} 1`,
    `taskqueue_queue_messages{${of},queue="mail",state="waiting"} 5`,
    `taskqueue_queue_messages{${of},queue="mail",state="in_flight"} 2`,
    `taskqueue_queue_messages{${of},queue="mail",state="parked"} 1`,
    `taskqueue_pool_pods_ready{${of},pool="default"} 1`,
    `taskqueue_pool_pods_wanted{${of},pool="default"} 3`,
    `taskqueue_broker_dead_letters{${of}} 4`,
  ])
})

it('leaves no series of a TaskQueue that is gone, and no depth of a broker that can not be asked', async () => {
  const queues = [told()]
  const made = registry(queues, { reachable: false, reason: 'Unreachable', message: 'away' })
  const before = await samples(made)
  expect(before.filter((line) => line.startsWith('taskqueue_queue_messages'))).toEqual([])
  expect(before).not.toEqual([])
  queues.pop()
  expect(await samples(made)).toEqual([])
})
