// A campaign of 5,000 jobs and 20 faults of every kind on Node workers, drawn from a seed that is printed; TASKQUEUE_FAULTS_SEED repeats one.

import { randomInt } from 'node:crypto'
import { expect, it } from 'vitest'
import { runCampaign } from './history/campaign.ts'
import { alone } from './history/subjects/ours.ts'

it('loses nothing, repeats nothing without a cause and accounts for every slot, whatever goes wrong', async () => {
  const seed = Number(process.env['TASKQUEUE_FAULTS_SEED'] ?? randomInt(1, 1_000_000_000))
  const say = (line: string): void => void process.stdout.write(`${line}\n`)
  const { verdict, said } = await runCampaign(await alone(), { seed, jobs: 5000, faults: 20, say })
  const words = verdict.violations.length > 0 ? said.slice(-50) : []
  expect({ seed, violations: verdict.violations, words }).toEqual({ seed, violations: [], words: [] })
  expect(verdict.notApplicable).toEqual([])
  // It has met something: a campaign that no fault reached shows nothing.
  expect(verdict.counts.faults).toBeGreaterThanOrEqual(20)
  expect(verdict.counts.published).toBeGreaterThanOrEqual(5000)
  expect(verdict.counts.explained).toBeGreaterThan(0)
})
