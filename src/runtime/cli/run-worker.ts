// A worker as a process: health port, signals, exit code.
import { UsageError } from '../errors.ts'
import { tellLastErrors } from './last-errors.ts'
import { serveHealth } from '../health/server.ts'
import { createLog } from '../log.ts'
import { TaskWorker } from '../worker/worker.ts'
import { loadApp } from './load-app.ts'
import { settingsFrom, settingsOfFlags } from './options.ts'

/** Runs until it is told to stop. @throws UsageError before it has started */
export async function runWorker(flags: Record<string, unknown>): Promise<void> {
  settingsFrom(flags, process.env)
  const file = typeof flags['app'] === 'string' ? flags['app'] : process.env['TASKQUEUE_APP']
  if (!file) throw new UsageError('OptionMissing', 'say which app to run: --app FILE, or TASKQUEUE_APP')
  const app = await loadApp(file)
  app.override(settingsOfFlags(flags))
  const { queues, concurrency, shutdownGraceSeconds, healthPort, logLevel } = app.settings
  const log = createLog({ level: logLevel, fields: { service: app.name, component: 'worker' } })
  let stopping: Promise<void> | undefined
  const stop = (why: string, { graceSeconds = shutdownGraceSeconds, exitCode = 0 } = {}): void => {
    if (stopping) {
      log.warn({ event: 'worker-stopping', reason: why }, 'asked again: what runs is given back at once')
      worker.giveBackNow()
      return
    }
    log.info({ event: 'worker-stopping', reason: why }, `${why}: stopping`)
    stopping = worker.stop(graceSeconds).finally(async () => {
      await health.close()
      // Handlers that were given back may still hold the event loop.
      process.exit(exitCode)
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
    onHardLimit: () => stop('hard time limit', { graceSeconds: 0, exitCode: 1 }),
  })
  const health = await serveHealth(healthPort, worker)
  log.info({ event: 'health-port', port: health.port }, `health port ${health.port}`)
  process.on('SIGTERM', () => stop('SIGTERM'))
  process.on('SIGINT', () => stop('SIGINT'))
  // Nothing is given back: if a task did this it is counted as lost with its worker, and dies after so many times.
  tellLastErrors(log, 'an error that nobody caught ends the worker; what ran here runs again elsewhere')
  await worker.start()
}
