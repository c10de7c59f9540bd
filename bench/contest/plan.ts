// What is measured, in quick mode and in full. Plain data: how it is measured is in measure.ts, what comes of it in summary.ts.

import type { Send, Work } from './load.ts'

interface Scenario {
  /** Stable: the key in the JSON file. */
  readonly name: string
  readonly title: string
  /** Names of entrants; every one of Node's and Celery's prefork when it is left out. */
  readonly entrants?: readonly string[]
}

export interface ExecutionScenario extends Scenario {
  readonly kind: 'execution'
  readonly work: Work
  readonly concurrency: number
  readonly processes: number
  readonly results: boolean
  readonly bytes: number
  /** Jobs of a round for the quickest; the others have their share of it. */
  readonly count: number
  /** Of each round trip of the workers, by a proxy. */
  readonly networkDelayMs: number
}

export interface SendScenario extends Scenario {
  readonly kind: 'send'
  readonly send: Send
  readonly bytes: number
  readonly count: number
}

export interface LatencyScenario extends Scenario {
  readonly kind: 'latency'
  readonly perSecond: number
  readonly seconds: number
}

export type RoundScenario = ExecutionScenario | SendScenario | LatencyScenario

export interface Plan {
  readonly rounds: number
  readonly scenarios: readonly RoundScenario[]
  /** Seconds of a worker with nothing to do; 0 for none. */
  readonly idleSeconds: number
  /** Jobs after which a worker's memory is looked at; 0 for none. */
  readonly memoryJobs: number
  /** Jobs that wait for their time all at once; 0 for none. */
  readonly parkedJobs: number
}

const NODE = ['ours', 'bullmq', 'beequeue']
const DEFAULTS = {
  kind: 'execution',
  work: 'nothing',
  concurrency: 100,
  processes: 1,
  results: false,
  bytes: 100,
  networkDelayMs: 0,
} as const

function execution(
  name: string,
  title: string,
  count: number,
  more: Partial<ExecutionScenario> = {},
): ExecutionScenario {
  return { ...DEFAULTS, name, title, count, ...more }
}

const sending = (count: number): SendScenario[] => [
  {
    kind: 'send',
    name: 'send-one',
    title: 'Sent one by one, each awaited',
    send: 'one',
    bytes: 100,
    count: count / 10,
  },
  { kind: 'send', name: 'send-many', title: 'Sent 1,000 at once', send: 'many', bytes: 100, count },
]

const latency = (perSecond: number, seconds: number): LatencyScenario => ({
  kind: 'latency',
  name: `latency-${perSecond}`,
  title: `From sending to start, ${perSecond} a second`,
  perSecond,
  seconds,
})

export const quick: Plan = {
  rounds: 3,
  scenarios: [
    execution('nothing-100', 'Tasks that do nothing, 100 at once', 30_000),
    execution('nothing-1', 'Tasks that do nothing, one at a time', 5_000, { concurrency: 1, entrants: NODE }),
    ...sending(30_000).map((scenario) => ({ ...scenario, entrants: NODE })),
    { ...latency(100, 5), entrants: NODE },
  ],
  idleSeconds: 0,
  memoryJobs: 0,
  parkedJobs: 0,
}

export const full: Plan = {
  rounds: 3,
  scenarios: [
    execution('nothing-1', 'Tasks that do nothing, one at a time', 40_000, { concurrency: 1 }),
    execution('nothing-10', 'Tasks that do nothing, 10 at once', 100_000, { concurrency: 10 }),
    execution('nothing-100', 'Tasks that do nothing, 100 at once', 100_000, {
      entrants: [...NODE, 'celery-prefork', 'celery-threads'],
    }),
    execution('nothing-100-results', 'The same, with results', 100_000, { results: true }),
    execution('nothing-100-2', 'The same without results, by 2 processes', 100_000, { processes: 2 }),
    execution('nothing-100-10k', 'With arguments of 10 KB', 40_000, { bytes: 10_240, entrants: NODE }),
    execution('io-100', 'Tasks that wait for 1 ms, 100 at once', 60_000, { work: 'io' }),
    execution('cpu-10', 'Tasks that compute for 5 ms, 10 at once', 500, { work: 'cpu' }),
    execution('nothing-100-late', 'Tasks that do nothing, with 1 ms of network delay', 60_000, {
      networkDelayMs: 1,
      entrants: NODE,
    }),
    execution('nothing-10-late', 'The same, 10 at once', 20_000, {
      networkDelayMs: 1,
      concurrency: 10,
      entrants: NODE,
    }),
    ...sending(100_000),
    latency(1, 10),
    latency(100, 10),
    latency(1_000, 10),
  ],
  idleSeconds: 10,
  memoryJobs: 1_000_000,
  parkedJobs: 1_000_000,
}
