// Campaigns in which the broker fails over to a replica that has not got all of it: what is lost then the broker has lost, and nobody else may
// lose anything. Without beat: whether a slot that was sent is lost is the same question as of any other message.

import { runCampaign, type Campaign, type CampaignOptions } from './campaign.ts'
import { PROMOTION, type FaultKind } from './history.ts'
import type { Subject } from './subject.ts'

const KINDS: readonly FaultKind[] = [PROMOTION, PROMOTION, 'kill worker']

export function promotionCampaign(whole: Subject, options: Omit<CampaignOptions, 'kinds'>): Promise<Campaign> {
  const { beat, ...subject } = whole
  const promises = { ...subject.promises, beat: beat === undefined && subject.promises.beat }
  return runCampaign({ ...subject, promises }, { ...options, kinds: KINDS })
}
