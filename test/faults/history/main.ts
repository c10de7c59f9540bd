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
import { wallClockWords } from './verdict.ts'

const root = join(import.meta.dirname, '../../..')

interface Size {
  readonly jobs: number
  readonly faults: number
}

/** Its size is that of the long mode: as many as it can do in some eight minutes, ours in fifteen. */
interface Entry extends Size {
  readonly make: () => Promise<Subject>
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

/** Celery's workers here have one slot each. */
const isSlow = (name: string): boolean => name === 'celery' || name === 'mixed'

function entryOf(name: string): Entry {
  const entry = known[name]
  if (!entry) throw new Error(`there is no subject ${name}: known are ${Object.keys(known).join(', ')}`)
  return entry
}

/** How large the campaign of a subject is. */
function sizeOf(name: string): Size {
  if (values.quick) return isSlow(name) ? QUICK_CELERY : QUICK
  const { jobs, faults } = entryOf(name)
  const share = Number(values.share)
  return { jobs: Math.round(jobs * share), faults: Math.round(faults * share) }
}

async function one(name: string): Promise<Row> {
  const size = sizeOf(name)
  const jobs = Number(values.jobs ?? size.jobs)
  const faults = Number(values.faults ?? size.faults)
  return judged(name, '', { jobs, faults }, runCampaign)
}

function promoted(name: string): Promise<Row> {
  const size = isSlow(name) ? PROMOTIONS_CELERY : PROMOTIONS
  return judged(name, ', with a replica that is promoted', size, promotionCampaign)
}

/** Runs a campaign of a subject, and tells what came of it. */
async function judged(name: string, how: string, size: Size, campaign: typeof promotionCampaign): Promise<Row> {
  const subject = await entryOf(name).make()
  const seed = Number(values.seed ?? randomInt(1, 1_000_000_000))
  say(`==> ${subject.label}${how}: ${size.jobs} jobs, ${size.faults} faults, seed ${seed}`)
  const { verdict, seconds, said, history } = await campaign(subject, { seed, ...size, say, drainSeconds: 180 })
  say(`    ${JSON.stringify(verdict.counts)} in ${seconds.toFixed(0)} s; violations: ${verdict.violations.length}`)
  say(`    ${wallClockWords(history)}`)
  for (const { rule, id, text } of verdict.violations.slice(0, 20)) say(`    ${rule}: ${id}: ${text}`)
  if (verdict.violations.length > 0 && name === 'ours')
    for (const line of said.slice(-30)) say(`    | ${line.slice(0, 300)}`)
  return { name, label: subject.label, seed, ...size, seconds, verdict }
}

const unfinished: string[] = []

/** The rows of all subjects whose campaign ends. The column of another is left out, and that is said; the others' figures stand. */
async function rowsOf(run: (name: string) => Promise<Row>, how = ''): Promise<Row[]> {
  const rows: Row[] = []
  for (const name of values.subjects.split(','))
    try {
      rows.push(await run(name))
    } catch (error) {
      unfinished.push(`${name}${how}`)
      const why = error instanceof Error ? (error.stack ?? error.message) : String(error)
      say(`    ${name} could not be run to its end: ${why}`)
    }
  return rows
}

const rows = await rowsOf(one)
const promotions = values.quick ? [] : await rowsOf(promoted, ' with a replica')
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
