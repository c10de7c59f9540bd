// docs/reliability.md and the raw figures beside it, from the verdicts of campaigns. Nothing is written by hand. Pure.

import { format } from 'prettier'
import { barChart } from '../../../bench/chart.ts'
import { RULES, type Rule, type Verdict } from './checker.ts'
import { FAULT_KINDS } from './history.ts'

export interface Row {
  readonly name: string
  readonly label: string
  readonly seed: number
  readonly jobs: number
  readonly faults: number
  readonly seconds: number
  readonly verdict: Verdict
}

export interface Page {
  readonly rows: readonly Row[]
  /** Of the campaigns with a replica. */
  readonly promotions: readonly Row[]
  /** Names of subjects whose campaign could not be run to its end. */
  readonly unfinished: readonly string[]
  readonly machine: string
  readonly node: string
  readonly date: string
}

/** @returns the files, by their path in the checkout */
export async function reliabilityPage(page: Page): Promise<readonly (readonly [path: string, text: string])[]> {
  return [
    ['docs/reliability.md', await format(markdown(page), { parser: 'markdown', printWidth: 120 })],
    ['docs/reliability.svg', brokenPromises(page.rows)],
    ['docs/reliability.json', await format(JSON.stringify(page), { parser: 'json', printWidth: 120 })],
  ]
}

/** All rules together; a broken promise is a broken promise. */
function brokenPromises(rows: readonly Row[]): string {
  const bars = rows.map(({ name, verdict: { violations, counts } }) => {
    const value = (violations.length / Math.max(counts.executions, 1)) * 100_000
    return { label: name, value, least: value, most: value }
  })
  return barChart('Broken promises', 'of 100,000 executions under faults; less is better', bars)
}

function cell({ verdict }: Row, rule: Rule): string {
  if (verdict.notApplicable.includes(rule)) return 'not promised'
  return String(verdict.violations.filter((violation) => violation.rule === rule).length)
}

/** What asynchronous replication costs: no library can make that good, and each must lose no more than that. */
function promotionSection(promotions: readonly Row[]): string[] {
  if (promotions.length === 0) return []
  const rows = promotions.map(({ label, seed, verdict, seconds }) => {
    const { published, faults, lostBytes, lostByBroker } = verdict.counts
    const others = verdict.violations.filter(({ rule }) => rule === 'lost').length
    const more = verdict.violations.length - others
    return [label, seed, published, faults, lostBytes, lostByBroker, others, more, (seconds / 60).toFixed(1)]
  })
  const head = [
    '',
    'seed',
    'acknowledged',
    'faults',
    'bytes not replicated',
    'lost by the broker',
    '**lost**',
    '**other broken promises**',
    'minutes',
  ]
  const findings = promotions.flatMap(({ label, verdict }) =>
    verdict.violations.slice(0, 10).map(({ rule, id, text }) => `- ${label}: ${rule}: \`${id}\`: ${text}`),
  )
  return [
    '## When a replica is promoted',
    'A replica stands beside the broker. Again and again it is cut off for up to 1.5 s, the broker is killed, and goes on at its address from the data of the replica; every third fault kills a worker instead. What the broker had acknowledged after the cut and the replica never got is lost by the broker: the count is bounded by the bytes of its stream that the replica had not got. Everything else must not be lost. `WAIT`, or `min-replicas-to-write`, makes the window small; it does not close it.',
    [head, head.map((_, i) => (i === 0 ? '---' : '--:')), ...rows]
      .map((cells) => `| ${cells.join(' | ')} |`)
      .join('\n'),
    ...(findings.length > 0 ? [findings.join('\n')] : []),
  ]
}

function markdown({ rows, promotions, unfinished, machine, node, date }: Page): string {
  const head = ['', ...rows.map(({ label }) => label)]
  const line = (name: string, value: (row: Row) => string | number): string[] => [
    name,
    ...rows.map((row) => String(value(row))),
  ]
  const table = [
    line('seed', ({ seed }) => seed),
    line('jobs that the broker acknowledged', ({ verdict }) => verdict.counts.published),
    line('publishes whose answer never came', ({ verdict }) => verdict.counts.unknown),
    line('faults', ({ verdict }) => verdict.counts.faults),
    line('executions', ({ verdict }) => verdict.counts.executions),
    line('repetitions with a cause', ({ verdict }) => verdict.counts.explained),
    ...RULES.map((rule) => line(`**${rule}**`, (row) => cell(row, rule))),
    line('minutes', ({ seconds }) => (seconds / 60).toFixed(1)),
  ]
  const findings = rows.flatMap(({ label, verdict }) =>
    verdict.violations.slice(0, 10).map(({ rule, id, text }) => `- ${label}: ${rule}: \`${id}\`: ${text}`),
  )
  return [
    '# Reliability',
    `Written by \`make faults\`, never by hand; the figures are in [reliability.json](reliability.json). ${date}, ${machine}, Node ${node}.`,
    `Jobs are sent while faults come, drawn from a seed: ${FAULT_KINDS.join(', ')}. Every acknowledged publish, every begin and every end of an execution and every fault is written down by whoever it happened to, and a checker judges the history: what was acknowledged must have ended or be a dead letter; an attempt that began twice must have a cause in the history, such as a kill of its process; nothing begins before its time by the broker's clock; a slot of beat is one message or accounted as missed; a chord's body is one; and when all is healed, nothing is left. The checker itself is tested with planted faults.`,
    'The broker keeps what it acknowledges (`appendfsync always`), so it has no excuse for a loss. Bold lines count broken promises; all other libraries are set so that a lost job comes back as soon as they can.',
    [
      '| ' + head.join(' | ') + ' |',
      '|' + head.map((_, i) => (i === 0 ? ' --- |' : ' --: |')).join(''),
      ...table.map((cells) => `| ${cells.join(' | ')} |`),
    ].join('\n'),
    ...(unfinished.length > 0 ? [`Could not be run to its end in this run: ${unfinished.join(', ')}.`] : []),
    '![Broken promises of each](reliability.svg)',
    ...(findings.length > 0 ? ['## What was broken', findings.join('\n')] : []),
    'Where Celery workers take part, one cause of a loss is not to be mended here: kombu takes a message off its list (`BRPOP`) and writes it down as unacknowledged in a second step, so what was on its way between the two is gone with the connection or the worker. Node workers take and write down in one script.',
    ...promotionSection(promotions),
    '## Again',
    '`node test/faults/history/main.ts --subjects ours --seed SEED --jobs N --faults N` draws the same jobs and the same faults; what the machine makes of them is another matter.',
  ].join('\n\n')
}
