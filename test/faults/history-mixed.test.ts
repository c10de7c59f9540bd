// The same with Node and Celery workers on one queue. Only faults that Celery itself survives: its transport takes a message from the list
// before it writes it down, so that a kill, a cut or a full broker in between loses it (docs/reliability.md counts how often).

import { randomInt } from 'node:crypto'
import { expect, it } from 'vitest'
import { runCampaign } from './history/campaign.ts'
import { mixed } from './history/subjects/ours.ts'
import { expectUnbroken } from './history/verdict.ts'

it('holds for Node and Celery workers on one queue', async () => {
  const seed = Number(process.env['TASKQUEUE_FAULTS_SEED'] ?? randomInt(1, 1_000_000_000))
  const say = (line: string): void => void process.stdout.write(`${line}\n`)
  const kinds = [
    'stop worker',
    'scale down',
    'rolling update',
    'kill beat',
    'stop beat',
    'slow network',
    'clock step',
  ] as const
  const campaign = await runCampaign(await mixed(), { seed, jobs: 700, faults: 8, kinds, say })
  expectUnbroken(campaign, say)
  const { verdict } = campaign
  expect(verdict.counts.faults).toBeGreaterThanOrEqual(8)
})
