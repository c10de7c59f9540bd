// `taskqueue patrol`: looks for what fails in silence.
import type { Command } from 'commander'
import { addFlags } from './options.ts'

export function addPatrolCommand(program: Command): void {
  const patrol = program
    .command('patrol')
    .description('look for what fails in silence; exit 1 when something needs a person, or could not be asked')
    .option('--queues <names>', 'queues to look at beside those that workers use, separated by commas')
    .option('--app <file>', 'ES module whose TaskApp brings schedules [TASKQUEUE_APP]')
    .option('--schedules <file>', 'YAML with a list "schedules:" that beat should have')
    .option('--name <name>', "the beat's name; the app's name when left out")
    .option('--watch-seconds <n>', 'from the first look to the last', '10')
    .option(
      '--stalled-seconds <n>',
      'how long a worker may take nothing beside what waits; at most --watch-seconds',
      '5',
    )
    .option('--idle-queue-seconds <n>', 'how long a queue may have no traffic', '3600')
    .option('--timeout <seconds>', 'how long workers may take to answer', '1')
    .option('--json', 'one line of JSON: {"needsPerson": true, "findings": [...]}')
  patrol.option('--visibility-timeout <seconds>', 'that of Python workers that do not tell it (3600)')
  addFlags(patrol, 'connection', 'sending').action(async (flags: Record<string, unknown>) => {
    const { runPatrol } = await import('./run-patrol.ts')
    await runPatrol(flags)
  })
}
