// The long mode: `node test/faults/history/main.ts [--quick] [--share 0.3] [--jobs N --faults N] [--seed N] [--subjects a,b] [--no-write]`. Every subject under
// the same nemesis; what comes of it is written into docs/reliability.md, whatever it says. Exits with 1 when ours broke a promise.

import { randomInt } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { reliabilityPage, type Row } from './page.ts'
import { runCampaign } from './campaign.ts'
import { promotionCampaign } from './promotions.ts'
import type { Subject } from './subject.ts'
import { alone, mixed } from './subjects/ours.ts'
import { subject as beequeue } from './subjects/beequeue.ts'
import { subject as bullmq } from './subjects/bullmq.ts'
import { subject as celery } from './subjects/celery.ts'

const root = join(import.meta.dirname, '../../..')

interface Entry {
  readonly make: () => Promise<Subject>
  /** Jobs and faults of the long mode: as many as it can do in some eight minutes, ours in fifteen. */
  readonly jobs: number
  readonly faults: number
}
const known: Readonly<Record<string, Entry>> = {
  ours: { make: alone, jobs: 200_000, faults: 200 },
  mixed: { make: mixed, jobs: 10_000, faults: 100 },
  celery: { make: celery, jobs: 5_000, faults: 100 },
  bullmq: { make: bullmq, jobs: 20_000, faults: 100 },
  beequeue: { make: beequeue, jobs: 20_000, faults: 100 },
}
/** Of the campaigns with a replica, in which two faults of three promote it. */
const PROMOTIONS = { jobs: 4000, faults: 18 }
const PROMOTIONS_CELERY = { jobs: 900, faults: 18 }
const QUICK = { jobs: 5000, faults: 20 }
/** Celery's workers here have one slot each. */
const QUICK_CELERY = { jobs: 1000, faults: 20 }

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    /** Of the long mode's jobs and faults. */
    share: { type: 'string', default: '1' },
    jobs: { type: 'string' },
    faults: { type: 'string' },
    seed: { type: 'string' },
    subjects: { type: 'string', default: Object.keys(known).join(',') },
    'no-write': { type: 'boolean', default: false },
  },
})

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

async function one(name: string): Promise<Row> {
  const entry = known[name]
  if (!entry) throw new Error(`there is no subject ${name}: known are ${Object.keys(known).join(', ')}`)
  const quick = name === 'celery' || name === 'mixed' ? QUICK_CELERY : QUICK
  const size = values.quick ? quick : entry
  const seed = Number(values.seed ?? randomInt(1, 1_000_000_000))
  const share = values.quick ? 1 : Number(values.share)
  const jobs = Number(values.jobs ?? Math.round(size.jobs * share))
  const faults = Number(values.faults ?? Math.round(size.faults * share))
  const subject = await entry.make()
  say(`==> ${subject.label}: ${jobs} jobs, ${faults} faults, seed ${seed}`)
  const { verdict, seconds, said } = await runCampaign(subject, { seed, jobs, faults, say, drainSeconds: 180 })
  say(`    ${JSON.stringify(verdict.counts)} in ${seconds.toFixed(0)} s; violations: ${verdict.violations.length}`)
  for (const { rule, id, text } of verdict.violations.slice(0, 20)) say(`    ${rule}: ${id}: ${text}`)
  if (verdict.violations.length > 0 && name === 'ours')
    for (const line of said.slice(-30)) say(`    | ${line.slice(0, 300)}`)
  return { name, label: subject.label, seed, jobs, faults, seconds, verdict }
}

async function promoted(name: string): Promise<Row> {
  const entry = known[name]
  if (!entry) throw new Error(`there is no subject ${name}`)
  const seed = Number(values.seed ?? randomInt(1, 1_000_000_000))
  const size = name === 'celery' || name === 'mixed' ? PROMOTIONS_CELERY : PROMOTIONS
  const subject = await entry.make()
  say(`==> ${subject.label}, with a replica that is promoted: ${size.jobs} jobs, ${size.faults} faults, seed ${seed}`)
  const { verdict, seconds } = await promotionCampaign(subject, { seed, ...size, say, drainSeconds: 180 })
  say(`    ${JSON.stringify(verdict.counts)} in ${seconds.toFixed(0)} s; violations: ${verdict.violations.length}`)
  for (const { rule, id, text } of verdict.violations.slice(0, 20)) say(`    ${rule}: ${id}: ${text}`)
  return { name, label: subject.label, seed, ...size, seconds, verdict }
}

const rows: Row[] = []
const promotions: Row[] = []
const unfinished: string[] = []
for (const name of values.subjects.split(','))
  try {
    rows.push(await one(name))
  } catch (error) {
    // Its column is left out, and that is said; the others' figures stand.
    unfinished.push(name)
    say(
      `    ${name} could not be run to its end: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    )
  }
if (!values.quick)
  for (const name of values.subjects.split(','))
    try {
      promotions.push(await promoted(name))
    } catch (error) {
      unfinished.push(`${name} with a replica`)
      say(`    ${name} could not be run to its end: ${error instanceof Error ? error.message : String(error)}`)
    }
if (!values['no-write']) {
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`
  const date = new Date().toISOString().slice(0, 10)
  const files = await reliabilityPage({ rows, promotions, unfinished, machine, node: process.version, date })
  for (const [path, text] of files) {
    writeFileSync(join(root, path), text)
    say(`written: ${path}`)
  }
}
const broken = [...rows, ...promotions].filter(({ name, verdict }) => name === 'ours' && verdict.violations.length > 0)
process.exit(broken.length > 0 || unfinished.includes('ours') ? 1 : 0)
