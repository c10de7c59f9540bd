// `taskqueue worker`: the worker as a process: health port, signals, exit code.
import type { Command } from 'commander'
import { UsageError } from '../errors.ts'
import { serveHealth } from '../health/server.ts'
import { createLog } from '../log.ts'
import { TaskWorker } from '../worker/worker.ts'
import { loadApp } from './load-app.ts'
import { addFlags, settingsFrom } from './options.ts'

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
  addFlags(command, 'consuming', 'connection', 'sending', 'process').action(runWorker)
}

async function runWorker(flags: Record<string, unknown>): Promise<void> {
  settingsFrom(flags, process.env)
  const file = typeof flags['app'] === 'string' ? flags['app'] : process.env['TASKQUEUE_APP']
  if (!file) throw new UsageError('OptionMissing', 'say which app to run: --app FILE, or TASKQUEUE_APP')
  const app = await loadApp(file)
  // Where to consume and how much is the process's affair; the rest is the app's, which may set more than variables do.
  const { queues, concurrency, healthPort, logLevel, shutdownGraceSeconds } = app.settings
  const log = createLog({ level: logLevel, fields: { service: app.name, component: 'worker' } })
  let stopping: Promise<void> | undefined
  const stop = (why: string): void => {
    if (stopping) {
      log.warn({ event: 'worker-stopping', reason: why }, 'asked again: what runs is given back at once')
      worker.giveBackNow()
      return
    }
    log.info({ event: 'worker-stopping', reason: why }, `${why}: stopping`)
    stopping = worker.stop(shutdownGraceSeconds).finally(async () => {
      await health.close()
      // Handlers that were given back may still hold the event loop.
      process.exit(0)
    })
  }
  const worker = new TaskWorker({
    app,
    log,
    queues,
    concurrency,
    hostname: typeof flags['hostname'] === 'string' ? flags['hostname'] : undefined,
    events: flags['events'] === true,
    onShutdownRequest: () => stop('remote shutdown'),
  })
  const health = await serveHealth(healthPort, worker)
  log.info({ event: 'health-port', port: health.port }, `health port ${health.port}`)
  process.on('SIGTERM', () => stop('SIGTERM'))
  process.on('SIGINT', () => stop('SIGINT'))
  // An error that a handler let go of is nobody's task any more: say so, and go on.
  process.on('unhandledRejection', (error) =>
    log.error({ event: 'unhandled-rejection', error }, 'a promise was rejected and nobody looked'),
  )
  await worker.start()
}
