// `taskqueue schedule`: what is scheduled, when it ran, when it runs next.
import type { Command } from 'commander'
import { addFlags } from './options.ts'

export function addScheduleCommand(program: Command): void {
  const schedule = program.command('schedule').description('look at schedules')
  const list = schedule
    .command('list')
    .description('schedules with their last and next run, and how many slots were missed')
    .option('--app <file>', 'ES module whose TaskApp brings schedules [TASKQUEUE_APP]')
    .option('--schedules <file>', 'YAML with a list "schedules:"')
    .option('--name <name>', "the beat's name; the app's name when left out")
    .option('--json', 'one line of JSON')
  addFlags(list, 'connection').action(async (flags: Record<string, unknown>) => {
    const { listSchedules } = await import('./run-schedule.ts')
    await listSchedules(flags)
  })
}
