// A campaign in which the broker fails over again and again to a replica that lags behind: nothing is lost but what the broker lost.

import { randomInt } from 'node:crypto'
import { expect, it } from 'vitest'
import { PROMOTION } from './history/history.ts'
import { promotionCampaign } from './history/promotions.ts'
import { alone } from './history/subjects/ours.ts'
import { expectUnbroken } from './history/verdict.ts'

it('loses nothing that the promoted replica had', async () => {
  const seed = Number(process.env['TASKQUEUE_FAULTS_SEED'] ?? randomInt(1, 1_000_000_000))
  const say = (line: string): void => void process.stdout.write(`${line}\n`)
  const campaign = await promotionCampaign(await alone(), { seed, jobs: 2000, faults: 9, say })
  expectUnbroken(campaign, say)
  const { verdict, history } = campaign
  const promotions = history.events.filter((event) => event.what === 'fault' && event.kind === PROMOTION)
  expect(promotions).toHaveLength(6)
  // A replica that had everything would show nothing.
  expect(verdict.counts.lostBytes).toBeGreaterThan(0)
  say(`    the broker lost ${verdict.counts.lostByBroker} jobs with ${verdict.counts.lostBytes} bytes of its stream`)
})
