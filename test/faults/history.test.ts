// A campaign of 5,000 jobs and 20 faults of every kind on Node workers, drawn from a seed that is printed; TASKQUEUE_FAULTS_SEED repeats one.

import { randomInt } from 'node:crypto'
import { expect, it } from 'vitest'
import { runCampaign } from './history/campaign.ts'
import type { Event } from './history/history.ts'
import { alone } from './history/subjects/ours.ts'
import { expectUnbroken } from './history/verdict.ts'

it('loses nothing, repeats nothing without a cause and accounts for every slot, whatever goes wrong', async () => {
  const seed = Number(process.env['TASKQUEUE_FAULTS_SEED'] ?? randomInt(1, 1_000_000_000))
  const say = (line: string): void => void process.stdout.write(`${line}\n`)
  const campaign = await runCampaign(await alone(), { seed, jobs: 5000, faults: 20, say })
  expectUnbroken(campaign, say)
  const { verdict, history } = campaign
  expect(verdict.notApplicable).toEqual([])
  expect(verdict.counts.faults).toBeGreaterThanOrEqual(20)
  expect(verdict.counts.published).toBeGreaterThanOrEqual(5000)
  // A campaign whose faults meet nobody at work shows nothing.
  expect(metAtWork(history.events)).toBeGreaterThan(10)
})

/** Executions that had begun, and not ended, when a fault began. */
function metAtWork(events: readonly Event[]): number {
  const faults = events.filter((event) => event.what === 'fault')
  const ends = new Map(
    events.flatMap((event) =>
      event.what === 'end' || event.what === 'threw' ? [[`${event.id} ${event.attempt} ${event.pid}`, event.at]] : [],
    ),
  )
  return events.filter((event) => {
    if (event.what !== 'begin') return false
    const { id, attempt, pid, at } = event
    const end = ends.get(`${id} ${attempt} ${pid}`) ?? Infinity
    return faults.some(({ from, pids }) => at <= from && from <= end && (pids?.includes(pid) ?? true))
  }).length
}
