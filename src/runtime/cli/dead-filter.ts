// Which dead letters a command is about: --task, --queue, --reason, --since, --before. Pure.
import type { Command } from 'commander'
import type { ListedDeadLetter } from '../broker/store.ts'
import { UsageError } from '../errors.ts'

/** Says of a letter whether the command is about it. */
export type DeadFilter = (letter: Pick<ListedDeadLetter, 'task' | 'queue' | 'reason' | 'diedAt'>) => boolean

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

export function addDeadFilter(command: Command): Command {
  return command
    .option('--task <name>', 'only of this task')
    .option('--queue <name>', 'only those that died on this queue')
    .option('--reason <code>', 'only for this reason, such as RetriesSpent')
    .option('--since <when>', 'only those that died then or later: 2026-11-25T12:00:00Z, or how long ago: 30m, 12h, 7d')
    .option('--before <when>', 'only those that died before')
}

/**
 * The filter that flags make; undefined when none is given.
 * @param now milliseconds since the epoch
 * @throws UsageError `OptionInvalid`
 */
export function deadFilter(flags: Readonly<Record<string, unknown>>, now: number): DeadFilter | undefined {
  const text = (flag: string): string | undefined => (typeof flags[flag] === 'string' ? flags[flag] : undefined)
  const [task, queue, reason] = [text('task'), text('queue'), text('reason')]
  const [since, before] = [instant('--since', text('since'), now), instant('--before', text('before'), now)]
  if ([task, queue, reason, since, before].every((given) => given === undefined)) return undefined
  return (letter) =>
    (task === undefined || letter.task === task) &&
    (queue === undefined || letter.queue === queue) &&
    (reason === undefined || letter.reason === reason) &&
    (since === undefined || letter.diedAt >= since) &&
    (before === undefined || letter.diedAt < before)
}

function instant(flag: string, text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined
  const [, amount, unit = ''] = /^(\d{1,9})([smhd])$/.exec(text) ?? []
  if (amount !== undefined) return now - Number(amount) * (UNITS[unit] ?? 0)
  const at = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : NaN
  if (Number.isNaN(at))
    throw new UsageError(
      'OptionInvalid',
      `${flag} is an instant such as 2026-11-25T12:00:00Z, or how long ago: 30m, 12h, 7d; got ${text}`,
    )
  return at
}
