// Runs a plan: each scenario in rounds, the entrants one after another within a round, so that whatever the machine does meets all alike.

import { percentile, say } from '../operator/figures.ts'
import type { Redis } from 'ioredis'
import { startDelayed, type DelayedRedis } from './delayed.ts'
import { entrants as known, QUEUE, type Entrant } from './entrants.ts'
import type { Load } from './load.ts'
import { executed, latencies, sent } from './measure.ts'
import type { ExecutionScenario, LatencyScenario, Plan, RoundScenario } from './plan.ts'
import type { Outcome, Series } from './summary.ts'

export interface Ground {
  readonly redis: Redis
  readonly port: number
  readonly hashRounds: number
}

/** Of a round so many more jobs are thrown away at its beginning. */
const WARM_UP = 0.2
const MOST_WARM_UP = 20_000
/** Of Celery at least so many, or nothing could be timed. */
const LEAST = 100
const DEFAULT = ['ours', 'bullmq', 'beequeue', 'celery-prefork']

export async function runScenarios(ground: Ground, plan: Plan, only: readonly string[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  const scenarios = plan.scenarios.filter(({ name }) => only.length === 0 || only.includes(name))
  for (const [i, scenario] of scenarios.entries()) {
    say(`[${i + 1}/${scenarios.length}] ${scenario.title}`)
    outcomes.push(await runScenario(ground, scenario, plan.rounds))
  }
  return outcomes
}

async function runScenario(ground: Ground, scenario: RoundScenario, rounds: number): Promise<Outcome> {
  const names = scenario.entrants ?? DEFAULT
  const taking = known.filter(({ name }) => names.includes(name))
  const values = new Map(taking.map(({ name }) => [name, [] as number[]]))
  const samples = new Map(taking.map(({ name }) => [name, [] as number[]]))
  for (let round = 1; round <= rounds; round++)
    for (const entrant of taking) {
      const began = performance.now()
      const value = await one(ground, entrant, scenario, samples.get(entrant.name) ?? [])
      values.get(entrant.name)?.push(value)
      const took = ((performance.now() - began) / 1000).toFixed(0)
      say(`    round ${round} ${entrant.label.padEnd(16)} ${figure(scenario, value)} (${took} s)`)
    }
  const series = taking.map(({ name }): Series => {
    const late = samples.get(name) ?? []
    const at = (share: number): number => percentile(late, share)
    return {
      entrant: name,
      rounds: values.get(name) ?? [],
      ...(late.length > 0 ? { percentiles: { p50: at(0.5), p99: at(0.99), p999: at(0.999) } } : {}),
    }
  })
  return { scenario, series }
}

async function one(ground: Ground, entrant: Entrant, scenario: RoundScenario, samples: number[]): Promise<number> {
  const load = loadOf(ground, scenario)
  switch (scenario.kind) {
    case 'execution':
      return execution(ground, entrant, load, scenario)
    case 'send':
      return sent(ground, entrant, load, scenario.send, scaled(entrant, scenario.count))
    case 'latency':
      return latency(ground, entrant, load, scenario, samples)
  }
}

async function execution(ground: Ground, entrant: Entrant, load: Load, scenario: ExecutionScenario): Promise<number> {
  const { concurrency, processes, networkDelayMs, work } = scenario
  const count = work === 'cpu' ? scenario.count : scaled(entrant, scenario.count)
  const warmUp = Math.min(MOST_WARM_UP, Math.ceil(count * WARM_UP))
  let delayed: DelayedRedis | undefined
  try {
    if (networkDelayMs > 0) delayed = await startDelayed(ground.port, networkDelayMs)
    const workLoad = delayed ? { ...load, url: delayed.url } : load
    return await executed(ground, entrant, { send: load, work: workLoad }, { count, warmUp, concurrency, processes })
  } finally {
    await delayed?.close()
  }
}

async function latency(
  ground: Ground,
  entrant: Entrant,
  load: Load,
  { perSecond, seconds }: LatencyScenario,
  samples: number[],
): Promise<number> {
  const count = Math.max(5, perSecond * seconds)
  const micros = await latencies(ground, entrant, load, { perSecond, count, concurrency: 10 })
  const late = micros.map((value) => value / 1000)
  samples.push(...late)
  return percentile(late, 0.5)
}

function loadOf({ port, hashRounds }: Ground, scenario: RoundScenario): Load {
  return {
    url: `redis://127.0.0.1:${port}/0`,
    queue: QUEUE,
    work: scenario.kind === 'execution' ? scenario.work : 'nothing',
    results: scenario.kind === 'execution' && scenario.results,
    bytes: scenario.kind === 'latency' ? 100 : scenario.bytes,
    hashRounds,
  }
}

function scaled({ share }: Entrant, count: number): number {
  return Math.max(LEAST, Math.ceil(count * share))
}

function figure({ kind }: RoundScenario, value: number): string {
  return kind === 'latency' ? `${value.toFixed(2)} ms` : `${Math.round(value).toLocaleString('en')}/s`
}
