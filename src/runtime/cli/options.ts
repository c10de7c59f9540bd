// Options that commands share, and what they become: variables, so that an app that reads them when it is loaded sees the
// flags too. Flags win over what an app says in code, and that over variables.
import type { Command } from 'commander'
import { UsageError } from '../errors.ts'
import { readSettings, type Settings } from '../settings.ts'

interface Flag {
  readonly flags: string
  readonly variable: string
  readonly setting: keyof Settings
  readonly help: string
}

const CONNECTION: readonly Flag[] = [
  {
    flags: '--broker-url <url>',
    variable: 'TASKQUEUE_BROKER_URL',
    setting: 'brokerUrl',
    help: 'redis://[user:password@]host:port/db',
  },
  {
    flags: '--result-url <url>',
    variable: 'TASKQUEUE_RESULT_URL',
    setting: 'resultUrl',
    help: "where results are; the broker's when left out",
  },
  {
    flags: '--key-prefix <text>',
    variable: 'TASKQUEUE_KEY_PREFIX',
    setting: 'keyPrefix',
    help: "goes before every key, as kombu's global_keyprefix",
  },
]

const SENDING: readonly Flag[] = [
  {
    flags: '--default-queue <name>',
    variable: 'TASKQUEUE_DEFAULT_QUEUE',
    setting: 'defaultQueue',
    help: 'where tasks go that name no queue (celery)',
  },
  {
    flags: '--environment <name>',
    variable: 'TASKQUEUE_ENVIRONMENT',
    setting: 'environment',
    help: 'Production, or Test: everything goes to the default queue',
  },
]

const PROCESS: readonly Flag[] = [
  {
    flags: '--log-level <level>',
    variable: 'TASKQUEUE_LOG_LEVEL',
    setting: 'logLevel',
    help: 'trace, debug, info, warn, error, fatal or silent (info)',
  },
  {
    flags: '--health-port <port>',
    variable: 'TASKQUEUE_HEALTH_PORT',
    setting: 'healthPort',
    help: '/livez, /readyz and /metrics; 0 takes a free one (9808)',
  },
]

const CLOCKS: readonly Flag[] = [
  {
    flags: '--max-skew <seconds>',
    variable: 'TASKQUEUE_MAX_SKEW_SECONDS',
    setting: 'maxSkewSeconds',
    help: "how far this machine's clock and the broker's may be apart (60)",
  },
  {
    flags: '--on-skew <what>',
    variable: 'TASKQUEUE_ON_SKEW',
    setting: 'onSkew',
    help: 'beyond that: Report it, or HoldBeat until they agree again (Report)',
  },
]

const CONSUMING: readonly Flag[] = [
  {
    flags: '--queues <names>',
    variable: 'TASKQUEUE_QUEUES',
    setting: 'queues',
    help: 'queues to consume, separated by commas',
  },
  { flags: '--concurrency <n>', variable: 'TASKQUEUE_CONCURRENCY', setting: 'concurrency', help: 'tasks at once (8)' },
  {
    flags: '--pool <name>',
    variable: 'TASKQUEUE_POOL',
    setting: 'pool',
    help: 'async, or threads for work that needs a core (async)',
  },
  {
    flags: '--visibility-timeout <seconds>',
    variable: 'TASKQUEUE_VISIBILITY_TIMEOUT',
    setting: 'visibilityTimeoutSeconds',
    help: 'that of Python workers on these queues (3600)',
  },
  {
    flags: '--shutdown-grace <seconds>',
    variable: 'TASKQUEUE_SHUTDOWN_GRACE_SECONDS',
    setting: 'shutdownGraceSeconds',
    help: 'how long tasks may go on after SIGTERM (30)',
  },
]

const GROUPS = {
  connection: CONNECTION,
  sending: SENDING,
  process: PROCESS,
  clocks: CLOCKS,
  consuming: CONSUMING,
} as const

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
  for (const { flag, value } of given(flags)) env[flag.variable] = value
  return readSettings(env)
}

/**
 * The settings that flags give, and no others: they win over what an app says in code.
 * @throws UsageError `SettingInvalid`
 */
export function settingsOfFlags(flags: Readonly<Record<string, unknown>>): Partial<Settings> {
  const found = given(flags)
  const settings = readSettings(Object.fromEntries(found.map(({ flag, value }) => [flag.variable, value])))
  return Object.fromEntries(found.map(({ flag }) => [flag.setting, settings[flag.setting]]))
}

function given(flags: Readonly<Record<string, unknown>>): { flag: Flag; value: string }[] {
  return Object.values(GROUPS)
    .flat()
    .flatMap((flag) => {
      const value = flags[optionName(flag.flags)]
      return typeof value === 'string' ? [{ flag, value }] : []
    })
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

/** A count of a flag: a whole number, 1 or more. @throws UsageError `OptionInvalid` */
export function parseCount(flag: string, text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text.trim()) || value < 1 || !Number.isSafeInteger(value))
    throw new UsageError('OptionInvalid', `${flag} is a whole number, 1 or more; got ${text}`)
  return value
}
