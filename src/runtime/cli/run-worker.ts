// A worker as a process: health port, signals, exit code.
import { UsageError } from '../errors.ts'
import { serveHealth } from '../health/server.ts'
import { createLog } from '../log.ts'
import { TaskWorker } from '../worker/worker.ts'
import { loadApp } from './load-app.ts'
import { settingsFrom } from './options.ts'

/** Runs until it is told to stop. @throws UsageError before it has started */
export async function runWorker(flags: Record<string, unknown>): Promise<void> {
  const given = settingsFrom(flags, process.env)
  const file = typeof flags['app'] === 'string' ? flags['app'] : process.env['TASKQUEUE_APP']
  if (!file) throw new UsageError('OptionMissing', 'say which app to run: --app FILE, or TASKQUEUE_APP')
  const app = await loadApp(file)
  // A flag wins over what the app says in code, and that over variables.
  const queues = flags['queues'] === undefined ? app.settings.queues : given.queues
  const concurrency = flags['concurrency'] === undefined ? app.settings.concurrency : given.concurrency
  const graceSeconds =
    flags['shutdownGrace'] === undefined ? app.settings.shutdownGraceSeconds : given.shutdownGraceSeconds
  const { healthPort, logLevel } = given
  const log = createLog({ level: logLevel, fields: { service: app.name, component: 'worker' } })
  let stopping: Promise<void> | undefined
  const stop = (why: string): void => {
    if (stopping) {
      log.warn({ event: 'worker-stopping', reason: why }, 'asked again: what runs is given back at once')
      worker.giveBackNow()
      return
    }
    log.info({ event: 'worker-stopping', reason: why }, `${why}: stopping`)
    stopping = worker.stop(graceSeconds).finally(async () => {
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
  process.on('uncaughtException', (error) => {
    // Nothing is given back: if a task did this it is counted as lost with its worker, and dies after so many times.
    log.fatal(
      { event: 'uncaught-exception', error },
      'an error that nobody caught ends the worker; what ran here runs again elsewhere',
    )
    process.exit(1)
  })
  // An error that a handler let go of is nobody's task any more: say so, and go on.
  process.on('unhandledRejection', (error) =>
    log.error({ event: 'unhandled-rejection', error }, 'a promise was rejected and nobody looked'),
  )
  await worker.start()
}
