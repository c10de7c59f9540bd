// What a test says of a campaign that broke a promise: in the message of its error, which is what the end of a log keeps.

import type { Campaign } from './campaign.ts'

/** Of each rule that was broken, so many are named. */
const NAMED = 2
/** What processes said last. */
const LAST_WORDS = 30

/** @throws Error that names the seed and what was broken; what the processes said last is printed before */
export function expectUnbroken({ seed, verdict, said, history }: Campaign, say: (line: string) => void): void {
  const { violations } = verdict
  if (violations.length === 0) return
  for (const { rule, id, text } of violations) say(`    ${rule}: ${id}: ${text}`)
  for (const line of said.slice(-LAST_WORDS)) say(`    | ${line.slice(0, 500)}`)
  const broken = Map.groupBy(violations, ({ rule }) => rule)
  const rules = [...broken].map(([rule, of]) => {
    const some = of.slice(0, NAMED).map(({ id, text }) => `${id}: ${text}`)
    return `${of.length} of "${rule}" (${some.join('; ')})`
  })
  const moved = history.wall.map(({ movedMs }) => movedMs)
  const wall = `the machine's wall clock moved by ${Math.min(...moved).toFixed(1)} to ${Math.max(...moved).toFixed(1)} ms`
  throw new Error(`the campaign of seed ${seed} broke promises: ${rules.join(', ')}; ${wall} meanwhile`)
}
