// A worker as a process: health port, signals, exit code.
import { resolve } from 'node:path'
import type { TaskApp } from '../app.ts'
import { systemClock } from '../clock.ts'
import { UsageError } from '../errors.ts'
import { tellLastErrors, UNCAUGHT_EXIT_CODE } from './last-errors.ts'
import { LoopNotes, loopMemory } from '../health/loop-notes.ts'
import { serveWatched } from '../health/watchdog.ts'
import { createLog, type Logger } from '../log.ts'
import type { TaskPool } from '../worker/pool.ts'
import { MAX_CONCURRENCY, TaskWorker } from '../worker/worker.ts'
import { loadApp } from '../load-app.ts'
import { APP } from '../variables.ts'
import { openHealthPort } from './health-port.ts'
import { settingsFrom, settingsOfFlags } from './options.ts'

/** Runs until it is told to stop. @throws UsageError before it has started */
export async function runWorker(flags: Record<string, unknown>): Promise<void> {
  settingsFrom(flags, process.env)
  const file = typeof flags['app'] === 'string' ? flags['app'] : process.env[APP.variable]
  if (!file) throw new UsageError('OptionMissing', 'say which app to run: --app FILE, or TASKQUEUE_APP')
  const app = await loadApp(file)
  app.override(settingsOfFlags(flags))
  if (app.settings.eager)
    throw new UsageError(
      'OptionInvalid',
      'eager (TASKQUEUE_EAGER) is for unit tests: a worker that sends nothing to the broker is none',
    )
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
  const pool = app.settings.pool === 'threads' ? await threadPool(app, file, log) : undefined
  const loopNotes = new LoopNotes(loopMemory(Math.max(concurrency, MAX_CONCURRENCY)))
  const worker = new TaskWorker({
    app,
    log,
    ...(pool ? { pool } : {}),
    loopNotes,
    queues,
    concurrency,
    hostname: typeof flags['hostname'] === 'string' ? flags['hostname'] : undefined,
    events: flags['events'] === true,
    onShutdownRequest: () => stop('remote shutdown'),
    onHardLimit: () => stop('hard time limit', { graceSeconds: 0, exitCode: 1 }),
  })
  const health = await openHealthPort(healthPort, flags, log, (port) =>
    serveWatched(port, worker, {
      notes: loopNotes,
      noTaskSeconds: app.settings.loopHeldSeconds,
      onTrouble: (message) => log.error({ event: 'health-port-trouble' }, message),
    }),
  )
  process.on('SIGTERM', () => stop('SIGTERM'))
  process.on('SIGINT', () => stop('SIGINT'))
  // After an exception nothing is given back: if a task did this it is counted as lost with its worker, and dies after so many times.
  tellLastErrors(log, 'this ends the worker; what ran here runs again elsewhere', () =>
    stop('an unhandled rejection', { exitCode: UNCAUGHT_EXIT_CODE }),
  )
  try {
    await worker.start()
  } catch (error) {
    log.fatal({ event: 'worker-failed', error }, 'the worker could not start, and has taken nothing')
    process.exit(1)
  }
}

/** Loaded when it is asked for: most workers need none. */
async function threadPool(app: TaskApp, file: string, log: Logger): Promise<TaskPool> {
  const { ThreadPool } = await import('../worker/thread-pool.ts')
  const { concurrency, logLevel } = app.settings
  const logFields = { service: app.name, component: 'worker' }
  return new ThreadPool({
    settings: { appFile: resolve(file), logLevel, logFields },
    concurrency,
    clock: systemClock,
    log,
  })
}
