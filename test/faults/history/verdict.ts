// What a test says of a campaign that broke a promise: in the message of its error, which is what the end of a log keeps.

import type { Campaign } from './campaign.ts'
import type { History } from './history.ts'

/** Of each rule that was broken, so many are printed. */
const PRINTED = 20
/** What processes said last. */
const LAST_WORDS = 30

/** @throws Error that names the seed, which rules were broken how often, and one case of each; more is printed before */
export function expectUnbroken({ seed, verdict, said, history }: Campaign, say: (line: string) => void): void {
  const { violations } = verdict
  if (violations.length === 0) return
  const broken = [...Map.groupBy(violations, ({ rule }) => rule)]
  for (const [rule, of] of broken) for (const { id, text } of of.slice(0, PRINTED)) say(`    ${rule}: ${id}: ${text}`)
  for (const line of said.slice(-LAST_WORDS)) say(`    | ${line.slice(0, 500)}`)
  // The counts first: a summary cuts off what is long.
  const counts = broken.map(([rule, of]) => `${of.length} of "${rule}"`)
  const cases = broken.map(([rule, [first]]) => `${rule}: ${first?.id ?? ''}: ${first?.text ?? ''}`)
  throw new Error(`seed ${seed} broke ${counts.join(', ')}; ${wallClockWords(history)}\n${cases.join('\n')}`)
}

/** How far the machine's own clock moved, in words. */
export function wallClockWords({ wall }: History): string {
  const moved = wall.map(({ movedMs }) => movedMs)
  const [least, most] = [Math.min(0, ...moved), Math.max(0, ...moved)]
  return `the machine's wall clock moved by ${least.toFixed(2)} to ${most.toFixed(2)} ms against its monotonic one`
}
