// `taskqueue schedule`: what is scheduled, when it ran, when it runs next; run it now, pause it, let it go on.
import type { Command } from 'commander'
import { addFlags } from './options.ts'

export function addScheduleCommand(program: Command): void {
  const schedule = program.command('schedule').description('look at schedules, run them now, pause them')
  const add = (usage: string, description: string): Command =>
    addFlags(
      schedule
        .command(usage)
        .description(description)
        .option('--app <file>', 'ES module whose TaskApp brings schedules [TASKQUEUE_APP]')
        .option('--schedules <file>', 'YAML with a list "schedules:"')
        .option('--name <name>', "the beat's name; the app's name when left out")
        .option('--json', 'one line of JSON'),
      'connection',
      'sending',
    )
  add('list', 'schedules with their last and next run, and how many slots were missed').action(async (flags: Flags) => {
    const { listSchedules } = await import('./run-schedule.ts')
    await listSchedules(flags)
  })
  add('run <schedule>', 'send its task now, and print the id; its slots stay as they are').action(
    async (name: string, flags: Flags) => {
      const { runSchedule } = await import('./run-schedule.ts')
      await runSchedule(name, flags)
    },
  )
  for (const [command, paused, description] of [
    ['pause', true, 'let its slots pass, none of them missed, until it is resumed'],
    ['resume', false, 'fire it again, from its next slot on'],
  ] as const) {
    add(`${command} <schedule>`, description).action(async (name: string, flags: Flags) => {
      const { pauseSchedule } = await import('./run-schedule.ts')
      await pauseSchedule(name, paused, flags)
    })
  }
}

type Flags = Record<string, unknown>
