// What `taskqueue patrol` does: looks until its time is over, and prints what was found by the last one.
import { SchedulesSource } from '../beat/schedules-source.ts'
import { presenceKey } from '../broker/presence.ts'
import { RedisStore } from '../broker/redis/store.ts'
import { pause, systemClock } from '../clock.ts'
import { BrokerError, UsageError } from '../errors.ts'
import { needsPerson, type Finding } from '../patrol/finding.ts'
import type { Limits } from '../patrol/look.ts'
import { Patrol } from '../patrol/patrol.ts'
import { look, type Ground } from '../patrol/reading.ts'
import { readSettings } from '../settings.ts'
import { parseNumber } from './options.ts'
import { printJson, printLine, printTable } from './output.ts'
import { appFor, beatName } from './run-beat.ts'

type Flags = Readonly<Record<string, unknown>>

/** Between two looks at most. Seconds. */
const BETWEEN_SECONDS = 5
/** A command that is done sooner says nothing of how far it is. Seconds. */
const SILENT_SECONDS = 2

/** @throws UsageError, BrokerError `BrokerUrlInvalid` */
export async function runPatrol(flags: Flags): Promise<void> {
  const watchSeconds = seconds(flags, 'watchSeconds', '--watch-seconds', 1)
  const limits: Omit<Limits, 'visibilityTimeoutSeconds'> = {
    stalledSeconds: seconds(flags, 'stalledSeconds', '--stalled-seconds', 1),
    idleQueueSeconds: seconds(flags, 'idleQueueSeconds', '--idle-queue-seconds', 1),
  }
  const askMs = seconds(flags, 'timeout', '--timeout', 0.1) * 1000
  if (limits.stalledSeconds > watchSeconds)
    throw new UsageError(
      'OptionInvalid',
      `--stalled-seconds ${limits.stalledSeconds} is longer than --watch-seconds ${watchSeconds}: nobody would see it`,
    )
  // Queues are those of the command, not of a worker's settings that happen to be in the environment.
  const app = await appFor({ ...flags, queues: undefined })
  const { settings } = app
  const path = typeof flags['schedules'] === 'string' ? flags['schedules'] : undefined
  const source = new SchedulesSource(path, app.schedules)
  const { problem } = await source.read()
  if (problem !== undefined) throw new UsageError('ScheduleInvalid', problem)
  const store = new RedisStore({ url: settings.brokerUrl, keyPrefix: settings.keyPrefix })
  const ground: Ground = {
    store,
    transport: app.transport,
    clock: systemClock,
    queues: queuesOf(flags, settings.defaultQueue),
    allQueues: true,
    defaultQueue: settings.defaultQueue,
    presenceKey: presenceKey(settings, app.name),
    beat: beatName(settings, typeof flags['name'] === 'string' ? flags['name'] : app.name),
    schedules: source.schedules,
    askMs,
  }
  const patrol = new Patrol({ ...limits, visibilityTimeoutSeconds: settings.visibilityTimeoutSeconds })
  try {
    const findings = await watch(ground, patrol, watchSeconds)
    print(findings, flags['json'] === true)
    process.exitCode = needsPerson(findings) ? 1 : 0
  } finally {
    await Promise.all([store.close(), app.close()])
  }
}

/** Looks at once, and then until the time is over: two looks at least. */
async function watch(ground: Ground, patrol: Patrol, watchSeconds: number): Promise<Finding[]> {
  const pauses = Math.max(1, Math.ceil(watchSeconds / BETWEEN_SECONDS))
  const pauseMs = (watchSeconds * 1000) / pauses
  let findings = await see(ground, patrol)
  for (let i = 0; i < pauses; i++) {
    if (watchSeconds > SILENT_SECONDS) tellProgress(`look ${i + 1} of ${pauses + 1}: watching`)
    await pause(systemClock, pauseMs)
    findings = await see(ground, patrol)
  }
  if (watchSeconds > SILENT_SECONDS) tellProgress('')
  return findings
}

async function see(ground: Ground, patrol: Patrol): Promise<Finding[]> {
  try {
    return patrol.see(await look(ground))
  } catch (error) {
    // A URL that is none is wrong use; anything else of the broker is what a patrol is for.
    if (!(error instanceof BrokerError) || error.code === 'BrokerUrlInvalid') throw error
    return patrol.blind(error.message)
  }
}

function print(findings: readonly Finding[], json: boolean): void {
  if (json) {
    printJson({ needsPerson: needsPerson(findings), findings })
    return
  }
  printTable(
    ['SEVERITY', 'CODE', 'ABOUT'],
    findings.map(({ severity, code, subject }) => [severity, code, subject]),
    'nothing found',
  )
  for (const { code, subject, saw, todo } of findings) printLine(`\n${code} (${subject})\n  ${saw}\n  ${todo}`)
}

/** For a person who waits; a log wants none of it. */
function tellProgress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`)
}

function queuesOf(flags: Flags, defaultQueue: string): readonly string[] {
  const given = flags['queues']
  if (typeof given !== 'string') return [defaultQueue]
  return readSettings({ TASKQUEUE_QUEUES: given }).queues
}

function seconds(flags: Flags, name: string, flag: string, least: number): number {
  const value = parseNumber(flag, String(flags[name]))
  if (value < least || value > 86_400 * 30)
    throw new UsageError('OptionInvalid', `${flag} is ${least} to 2592000 seconds; got ${value}`)
  return value
}
