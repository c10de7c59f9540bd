// Delivery tags: `<process>:<n>:<step>`. A take uses a fresh one, never the message's own, so that a stale worker's
// acknowledgement finds nothing.
import { randomBytes } from 'node:crypto'
import { uuid4 } from '../../protocol/uuid.ts'
import { priorityStep, type PriorityStep } from '../../protocol/queue-key.ts'

/**
 * The process part of tags. It is longer than zset-max-listpack-value (64): small sorted sets are then kept as skip lists,
 * whose ZADD doesn't parse every score's text (0.5 instead of 8 microseconds a member).
 */
export function newProcessTag(): string {
  return `${uuid4()}-${randomBytes(16).toString('hex')}`
}

export function formatTag(process: string, number: number, step: number | string): string {
  return `${process}:${number}:${step}`
}

/** The number in a tag that this process has made. */
export function numberOfTag(tag: string): number {
  const end = tag.lastIndexOf(':')
  return Number(tag.slice(tag.lastIndexOf(':', end - 1) + 1, end))
}

/** The priority step at the end of a tag; 0 when there is none. */
export function stepOfTag(tag: string | null): PriorityStep {
  return tag === null ? 0 : priorityStep(Number(tag.slice(tag.lastIndexOf(':') + 1)) || 0)
}
