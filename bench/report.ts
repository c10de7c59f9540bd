// Writes the results down: docs/benchmarks.md with its tables, the charts as SVG, and every figure in JSON beside them. Nothing is measured
// here, and nothing is written by hand.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { format } from 'prettier'
import type { Endurance } from './contest/endurance.ts'
import { entrants } from './contest/entrants.ts'
import type { RedisLimits } from './contest/limits.ts'
import { summarise, type Outcome } from './contest/summary.ts'
import { barChart } from './chart.ts'

export interface Report {
  readonly mode: string
  readonly date: string
  readonly machine: Readonly<Record<string, string>>
  readonly versions: Readonly<Record<string, string>>
  readonly limits: RedisLimits
  readonly outcomes: readonly Outcome[]
  readonly endurance: Endurance
  /** What the other benchmarks of this folder printed, by their command. */
  readonly others: readonly { readonly command: string; readonly lines: readonly string[] }[]
}

const labelOf = (name: string): string => entrants.find((entrant) => entrant.name === name)?.label ?? name
const whole = (value: number): string => Math.round(value).toLocaleString('en')

/** @param root of the checkout */
export async function writeReport(root: string, report: Report): Promise<string[]> {
  const folder = join(root, 'docs/benchmarks')
  mkdirSync(folder, { recursive: true })
  const files = new Map<string, string>()
  files.set(join(folder, 'results.json'), await format(JSON.stringify(report), { parser: 'json', printWidth: 120 }))
  const charts = report.outcomes.filter(({ scenario }) => scenario.kind !== 'latency')
  for (const outcome of charts) files.set(join(folder, `${outcome.scenario.name}.svg`), chartOf(outcome))
  files.set(join(root, 'docs/benchmarks.md'), await format(page(report), { parser: 'markdown', printWidth: 120 }))
  for (const [file, text] of files) writeFileSync(file, text)
  return [...files.keys()]
}

function chartOf(outcome: Outcome): string {
  const bars = summarise(outcome).map(({ entrant, median, least, most }) => ({
    label: labelOf(entrant),
    value: median,
    least,
    most,
  }))
  return barChart(outcome.scenario.title, 'jobs a second', bars)
}

function page(report: Report): string {
  const { machine, versions, limits, outcomes, endurance, others, date, mode } = report
  return [
    '# Benchmarks',
    'Written by `make bench`, never by hand. All in one run on one machine, beside one redis-server (append-only file, everysec, for all alike). Rounds are interleaved; a figure is the median of its rounds, in brackets the least and the most, and a ratio is the median of the ratios within each round. The first jobs of a round are not counted. How it is measured is in [`bench/`](../bench/).',
    `${mode}, ${date}. ${Object.entries({ ...machine, ...versions })
      .map(([name, value]) => `${name}: ${value}`)
      .join('; ')}.`,
    'Left out, for they keep their jobs in another store and would measure that: pg-boss, graphile-worker (PostgreSQL).',
    '## Redis itself',
    table(
      ['', 'a second'],
      [
        ['round trips on one connection (PING)', whole(limits.roundTrips)],
        [`LPUSH of one of our messages (${limits.messageBytes} bytes), 100 in a pipeline`, whole(limits.pushes)],
        ['LPUSH and RPOP, 100 in a pipeline', whole(limits.pushesAndPops)],
      ],
    ),
    ...outcomes.flatMap((outcome) => section(outcome, limits)),
    ...enduranceSections(endurance),
    ...(others.length > 0 ? ['## The other benchmarks, as they print'] : []),
    ...others.flatMap(({ command, lines }) => [`\`${command}\``, `\`\`\`text\n${lines.join('\n')}\n\`\`\``]),
  ].join('\n\n')
}

function section(outcome: Outcome, limits: RedisLimits): string[] {
  const { scenario } = outcome
  if (scenario.kind === 'latency') {
    const rows = outcome.series.map(({ entrant, percentiles }) => [
      labelOf(entrant),
      ...[percentiles?.p50, percentiles?.p99, percentiles?.p999].map((ms) => (ms === undefined ? '' : ms.toFixed(2))),
    ])
    return [`## ${scenario.title}`, table(['', 'p50, ms', 'p99, ms', 'p99.9, ms'], rows)]
  }
  const limit = scenario.kind === 'send' ? limits.pushes : limits.pushesAndPops
  const rows = summarise(outcome).map(({ entrant, median, least, most, ratio }) => [
    labelOf(entrant),
    `${whole(median)} (${whole(least)} to ${whole(most)})`,
    ratio === undefined ? '' : ratio.toFixed(2),
    `${((median / limit) * 100).toFixed(1)} %`,
  ])
  return [
    `## ${scenario.title}`,
    `![](benchmarks/${scenario.name}.svg)`,
    table(['', 'a second', 'ours is so many times as fast', 'of what Redis itself does'], rows),
  ]
}

function enduranceSections({ idle, memory, parked }: Endurance): string[] {
  const sections: string[] = []
  if (idle.length > 0)
    sections.push(
      '## A worker with nothing to do',
      table(
        ['', 'Redis commands a second', 'CPU, %', "Redis' CPU, %", 'RSS, MiB'],
        idle.map(({ entrant, commandsPerSecond, cpuPercent, redisCpuPercent, rssMiB }) => [
          labelOf(entrant),
          ...[commandsPerSecond, cpuPercent, redisCpuPercent].map((value) => value.toFixed(2)),
          whole(rssMiB),
        ]),
      ),
    )
  if (memory.length > 0)
    sections.push(
      '## Memory of a worker',
      table(
        ['', 'jobs', 'RSS at the first thousand, MiB', 'RSS after all, MiB'],
        memory.map(({ entrant, jobs, first, after }) => [labelOf(entrant), whole(jobs), whole(first), whole(after)]),
      ),
    )
  if (parked.length > 0)
    sections.push(
      '## Jobs that wait for their time, all due at once',
      table(
        [
          '',
          'jobs',
          'sent in, s',
          'RSS of a worker meanwhile, MiB',
          'RSS of Redis, MiB',
          'from their time until the last was done, s',
        ],
        parked.map(({ entrant, count, sendSeconds, workerMiB, redisMiB, drainSeconds }) => [
          labelOf(entrant),
          whole(count),
          sendSeconds.toFixed(1),
          whole(workerMiB),
          whole(redisMiB),
          drainSeconds.toFixed(1),
        ]),
      ),
    )
  return sections
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '--:'))), ...rows.map(line)].join('\n')
}
