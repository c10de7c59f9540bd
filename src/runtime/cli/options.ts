// Options that commands share, and what they become: variables, so that an app that reads them when it is loaded sees the
// flags too. Flags win over variables.
import type { Command } from 'commander'
import { UsageError } from '../errors.ts'
import { readSettings, type Settings } from '../settings.ts'

interface Flag {
  readonly flags: string
  readonly variable: string
  readonly help: string
}

const CONNECTION: readonly Flag[] = [
  { flags: '--broker-url <url>', variable: 'TASKQUEUE_BROKER_URL', help: 'redis://[user:password@]host:port/db' },
  {
    flags: '--result-url <url>',
    variable: 'TASKQUEUE_RESULT_URL',
    help: "where results are; the broker's when left out",
  },
  {
    flags: '--key-prefix <text>',
    variable: 'TASKQUEUE_KEY_PREFIX',
    help: "goes before every key, as kombu's global_keyprefix",
  },
]

const SENDING: readonly Flag[] = [
  {
    flags: '--default-queue <name>',
    variable: 'TASKQUEUE_DEFAULT_QUEUE',
    help: 'where tasks go that name no queue (celery)',
  },
  {
    flags: '--environment <name>',
    variable: 'TASKQUEUE_ENVIRONMENT',
    help: 'Production, or Test: everything goes to the default queue',
  },
]

const PROCESS: readonly Flag[] = [
  {
    flags: '--log-level <level>',
    variable: 'TASKQUEUE_LOG_LEVEL',
    help: 'trace, debug, info, warn, error, fatal or silent (info)',
  },
  {
    flags: '--health-port <port>',
    variable: 'TASKQUEUE_HEALTH_PORT',
    help: '/livez, /readyz and /metrics; 0 takes a free one (9808)',
  },
]

const CONSUMING: readonly Flag[] = [
  { flags: '--queues <names>', variable: 'TASKQUEUE_QUEUES', help: 'queues to consume, separated by commas' },
  { flags: '--concurrency <n>', variable: 'TASKQUEUE_CONCURRENCY', help: 'tasks at once (8)' },
  {
    flags: '--visibility-timeout <seconds>',
    variable: 'TASKQUEUE_VISIBILITY_TIMEOUT',
    help: 'that of Python workers on these queues (3600)',
  },
  {
    flags: '--shutdown-grace <seconds>',
    variable: 'TASKQUEUE_SHUTDOWN_GRACE_SECONDS',
    help: 'how long tasks may go on after SIGTERM (30)',
  },
]

const GROUPS = { connection: CONNECTION, sending: SENDING, process: PROCESS, consuming: CONSUMING } as const

/** Adds groups of options to a command. */
export function addFlags(command: Command, ...groups: (keyof typeof GROUPS)[]): Command {
  for (const group of groups) {
    for (const { flags, variable, help } of GROUPS[group]) command.option(flags, `${help} [${variable}]`)
  }
  return command
}

/**
 * Puts the flags given into the environment, and reads the settings from there.
 * @throws UsageError `SettingInvalid`
 */
export function settingsFrom(flags: Readonly<Record<string, unknown>>, env: NodeJS.ProcessEnv): Settings {
  for (const flag of Object.values(GROUPS).flat()) {
    const value = flags[optionName(flag.flags)]
    if (typeof value === 'string') env[flag.variable] = value
  }
  return readSettings(env)
}

/** The name under which commander stores `--some-flag <value>`. */
function optionName(flags: string): string {
  const [first = ''] = flags.split(' ')
  return first.slice(2).replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())
}

/** A JSON argument. @throws UsageError `ArgumentsNotJson` */
export function parseJson(flag: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new UsageError(
      'ArgumentsNotJson',
      `${flag} is not JSON: ${error instanceof Error ? error.message : String(error)}; quote it for the shell, such as ${flag} '["a", 1]'`,
    )
  }
}

/** A number of a flag. @throws UsageError `OptionInvalid` */
export function parseNumber(flag: string, text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value))
    throw new UsageError('OptionInvalid', `${flag} is not a number: ${text}`)
  return value
}
