// A beat as a process: health port, presence, signals.
import { hostname } from 'node:os'
import { setFlagsFromString } from 'node:v8'
import { TaskApp } from '../app.ts'
import { Beat, type BeatOptions } from '../beat/beat.ts'
import { SchedulesSource } from '../beat/schedules-source.ts'
import { RedisStore } from '../broker/redis/store.ts'
import type { SendOptions } from '../call.ts'
import { systemClock } from '../clock.ts'
import { UsageError } from '../errors.ts'
import { EventSender } from '../events/event-sender.ts'
import { LamportClock } from '../events/lamport.ts'
import { PresenceWriter } from '../health/presence-writer.ts'
import { serveHealth } from '../health/server.ts'
import { SETTLE_MS } from '../listeners.ts'
import { createLog } from '../log.ts'
import { pythonRepr, pythonTuple } from '../protocol/python-repr.ts'
import type { Settings } from '../settings.ts'
import { APP } from '../variables.ts'
import type { Schedule } from '../triggers/schedule.ts'
import { loadApp } from '../load-app.ts'
import { tellLastErrors, UNCAUGHT_EXIT_CODE } from './last-errors.ts'
import { openHealthPort } from './health-port.ts'
import { settingsFrom, settingsOfFlags } from './options.ts'

/** The name of a beat's lease and cursors: the TaskQueue's, or what stands for it outside of Kubernetes. */
export function beatName(settings: Settings, name: string): string {
  return settings.namespace && settings.name ? `${settings.namespace}/${settings.name}` : name
}

/** The app of the commands about schedules: the one that --app names, or one that only sends. */
export async function appFor(flags: Readonly<Record<string, unknown>>): Promise<TaskApp> {
  settingsFrom(flags, process.env)
  const file = typeof flags['app'] === 'string' ? flags['app'] : process.env[APP.variable]
  const app = file ? await loadApp(file) : new TaskApp({ name: 'taskqueue' })
  app.override(settingsOfFlags(flags))
  return app
}

/** How the task of a schedule is sent, whatever its slot. */
export function sendOptionsOf({
  kwargs,
  queue,
  priority,
}: Schedule): Pick<SendOptions, 'kwargs' | 'queue' | 'priority'> {
  return {
    kwargs,
    ...(queue === undefined ? {} : { queue }),
    ...(priority === undefined ? {} : { priority }),
  }
}

/** Runs until it is told to stop. @throws UsageError before it has started */
export async function runBeat(flags: Record<string, unknown>): Promise<void> {
  // Beat has memory to save and no hurry: with ten thousand schedules it takes less than half of what V8 would take by default.
  setFlagsFromString('--optimize-for-size')
  const path = typeof flags['schedules'] === 'string' ? flags['schedules'] : undefined
  const app = await appFor(flags)
  if (path === undefined && app.schedules.length === 0) {
    throw new UsageError('OptionMissing', 'there are no schedules: give --schedules FILE, or an --app that has some')
  }
  const { settings } = app
  const name = beatName(settings, typeof flags['name'] === 'string' ? flags['name'] : app.name)
  const log = createLog({ level: settings.logLevel, fields: { service: 'beat', component: 'beat' } })
  const store = new RedisStore({ url: settings.brokerUrl, keyPrefix: settings.keyPrefix })
  const beat = new Beat({
    name,
    store,
    source: new SchedulesSource(path, app.schedules),
    scheduleFile: typeof flags['scheduleFile'] === 'string' ? flags['scheduleFile'] : undefined,
    clockLimit: { maxSkewSeconds: settings.maxSkewSeconds, onSkew: settings.onSkew },
    log,
    clock: systemClock,
    onSent: tellMonitors(app),
    onMissed: (missed) => app.listeners.emit('missed', missed, log),
    prepare: (schedule, slot, id) => {
      const options = { ...sendOptionsOf(schedule), id, scheduledFor: slot }
      const { publication, span } = app.prepare(schedule.task, schedule.args, options)
      span?.end()
      return publication
    },
  })
  app.transport
    .connect()
    .catch((error: unknown) => log.warn({ event: 'broker-trouble', error }, 'monitors hear nothing yet'))
  const presence = new PresenceWriter({
    store,
    brokerClock: beat.brokerClock,
    clock: systemClock,
    kind: 'beat',
    settings,
    appName: app.name,
    facts: () => ({
      busySlots: 0,
      slots: 0,
      queues: [],
      processed: beat.runs,
      lastProgressAt: beat.lastFiredAt,
      detail: beat.detail(),
    }),
  })
  const health = await openHealthPort(settings.healthPort, flags, log, (port) => serveHealth(port, beat))
  let stopping = false
  const stop = (exitCode: number): void => {
    if (stopping) process.exit(exitCode)
    stopping = true
    void beat
      .stop()
      .then(() => app.listeners.settle(SETTLE_MS, log))
      .then(() => presence.stop())
      .then(() => Promise.all([health.close(), store.close(), app.close()]))
      .finally(() => process.exit(exitCode))
  }
  process.on('SIGTERM', () => stop(0))
  process.on('SIGINT', () => stop(0))
  tellLastErrors(log, 'this ends beat; another takes over, or it is started again', () => stop(UNCAUGHT_EXIT_CODE))
  await beat.start()
  presence.start()
}

/** Sends Celery's task-sent for each message, so that Flower shows what beat sends. A monitor that hears nothing is no failure. */
function tellMonitors(app: TaskApp): NonNullable<BeatOptions['onSent']> {
  const sender = new EventSender(app.transport, `gen${process.pid}@${hostname()}`, systemClock, new LamportClock())
  return ({ task, args, kwargs }, _slot, id, queue) => {
    const [argsrepr, kwargsrepr] = [pythonTuple(args), pythonRepr(kwargs)]
    const routing = { queue, exchange: '', routing_key: queue }
    const fields = { uuid: id, root_id: id, parent_id: null, name: task, args: argsrepr, kwargs: kwargsrepr }
    void sender.send('task-sent', { ...fields, ...routing, retries: 0, eta: null, expires: null })
  }
}
