// `taskqueue worker`: its options and its help. What it does is loaded when it is asked for: the commands share a process
// image, and a worker shouldn't carry a cron parser.
import type { Command } from 'commander'
import { addFlags } from './options.ts'

export function addWorkerCommand(program: Command): void {
  const command = program
    .command('worker')
    .description('run the tasks of an app')
    .option('--app <file>', 'ES module that exports the TaskApp as "app" or as default [TASKQUEUE_APP]')
    .option('--hostname <name>', 'name on the wire (celery@<hostname>)')
    .option('--events', 'send task events, which monitors such as Flower show')
    .addHelpText(
      'after',
      `
SIGTERM stops taking tasks and lets those that run end within the grace period; what is left is given back and runs
elsewhere. A second signal gives everything back at once.

  taskqueue worker --app dist/tasks.js --queues default,mail --concurrency 16`,
    )
  addFlags(command, 'consuming', 'connection', 'sending', 'process').action(async (flags: Record<string, unknown>) => {
    const { runWorker } = await import('./run-worker.ts')
    await runWorker(flags)
  })
}
