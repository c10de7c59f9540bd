import { describe, expect, it } from 'vitest'
import { statusText, workersText } from '../../../src/kubectl/status.ts'
import { table } from '../../../src/kubectl/table.ts'

const at = '2026-01-01T00:00:00Z'
const queue = {
  metadata: { name: 'orders', namespace: 'demo', generation: 2 },
  spec: { engine: 'Node' },
  status: {
    observedGeneration: 2,
    workers: '1/2',
    backlog: 7,
    inFlight: 0,
    parked: 1,
    deadLetters: { count: 3 },
    pools: [{ name: 'default', queues: ['orders', 'mail'], ready: 1, wanted: 2, backlog: 7 }],
    beat: { state: 'Ready', nextRunTime: at },
    clock: { skew: '<0.25s' },
    conditions: [
      { type: 'Ready', status: 'False', reason: 'Starting', message: 'pods are starting', lastTransitionTime: at },
    ],
  },
}

describe('status', () => {
  it('shows figures, pools and conditions', () => {
    expect(statusText(queue, false)).toBe(`TaskQueue      demo/orders (Node)
Workers        1/2
Waiting        7
In flight      0
Parked         1
Dead letters   3
Beat           Ready, next run ${at}
Skew           <0.25s

POOL      READY   WAITING   BUSY   QUEUES
default   1/2     7         ?      orders,mail

CONDITION   STATUS   REASON     MESSAGE
Ready       False    Starting   pods are starting`)
  })

  it('says what is not known, and that a spec has not been seen', () => {
    const text = statusText({ ...queue, status: { observedGeneration: 1 } }, false)
    expect(text).toContain('Waiting        ?')
    expect(text).toContain('The operator has not seen the newest spec yet.')
  })

  it('has colours on a terminal only', () => {
    expect(statusText(queue, true)).toContain('\u001b[31mFalse \u001b[0m')
    expect(statusText(queue, false)).not.toContain('\u001b')
  })
})

it('workers show pods that end as Terminating', () => {
  const pod = {
    metadata: {
      name: 'orders-default-a',
      labels: { 'taskqueue.dev/pool': 'default' },
      creationTimestamp: at,
      deletionTimestamp: at,
    },
    spec: { nodeName: 'n', containers: [{ name: 'worker' }] },
    status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
  }
  expect(
    workersText([pod], false)
      .split('\n')[1]
      ?.split(/\s{2,}/),
  ).toEqual(['orders-default-a', 'default', 'yes', 'Terminating', '0', 'n'])
  expect(workersText([], false)).toBe('no worker pods')
})

it('a table pads by what is seen, not by its colours', () => {
  expect(
    table(
      ['A', 'B'],
      [
        [['x', 'good'], 'y'],
        ['longer', 'z'],
      ],
      true,
    ),
  ).toBe('A        B\n\u001b[32mx     \u001b[0m   y\nlonger   z')
})
