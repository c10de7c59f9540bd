// `taskqueue beat`: its options and its help; the rest is in run-beat.ts and loaded when it is asked for.
import type { Command } from 'commander'
import { addFlags } from './options.ts'

export function addBeatCommand(program: Command): void {
  const command = program
    .command('beat')
    .description('publish the tasks of schedules as they come due')
    .option('--app <file>', 'ES module whose TaskApp brings schedules, and the settings [TASKQUEUE_APP]')
    .option('--schedules <file>', 'YAML with a list "schedules:"; edits are picked up within 5 s')
    .option('--schedule-file <file>', 'remembers last runs on a volume, should the broker forget them')
    .option('--name <name>', "names the beat in the broker; the app's name when left out")
    .addHelpText(
      'after',
      `
Any number of beats may run: one holds the lease and fires, the others take over within 10 s. It works without --app, for
tasks in any language.

  schedules:
  - {name: nightly, task: reports.nightly, cron: "0 3 * * *", timeZone: Europe/Berlin, misfireGraceSeconds: 300}
  - {name: sweep, task: carts.sweep, everySeconds: 30, queue: mail, catchUp: None}

Besides cron and everySeconds there is at: "2026-01-31T09:00:00+08:00", once. jitterSeconds: 20 spreads the runs of many schedules.

catchUp says what happens to slots that passed while no beat ran: Last runs the latest, All runs each, None runs none.`,
    )
  addFlags(command, 'connection', 'sending', 'process', 'clocks').action(async (flags: Record<string, unknown>) => {
    const { runBeat } = await import('./run-beat.ts')
    await runBeat(flags)
  })
}
