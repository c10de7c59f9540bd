// `@taskqueue/runtime/log`: one JSON object a line on stdout, with the field names of docs/logging.md.
import { pino, stdTimeFunctions, type DestinationStream, type Logger as PinoLogger } from 'pino'
import { placeFields, redactSecrets } from './log-fields.ts'
import { prettyLine } from './log-pretty.ts'
import type { LogLevel } from './settings.ts'
import { LOG_LEVELS } from './variables.ts'
import { activeTraceFields } from './tracing.ts'

/** A logger; child() adds fields. */
export type Logger = PinoLogger

/** The level that a variable names; `info` for none, or for a word that is no level: a log must not fail for its level. */
export function logLevel(text: string | undefined): LogLevel {
  return LOG_LEVELS.find((level) => level === text) ?? 'info'
}

/** How a logger is made. */
export interface LogOptions {
  readonly level?: LogLevel
  /** Fields of every line, such as `service`. */
  readonly fields?: Readonly<Record<string, unknown>>
  /** The variables that say where this process runs; process.env by default. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Where lines go, as JSON; stdout by default, in a form for people when that is a terminal. */
  readonly destination?: DestinationStream
}

/** Fields that are nobody's business, wherever somebody's code puts them on the first or second level of a line. */
const SECRETS = ['password', 'passwd', 'secret', 'token', 'authorization', 'apiKey'].flatMap((name) => [
  name,
  `*.${name}`,
])

/**
 * A JSON logger: `time` is ISO-8601, `level` a word, `msg` the text, an error is `error.type`, `error.message`, `error.stack`. Passwords
 * in URLs and fields named like secrets are written as `***`. Within a span that is active, `traceId` and `spanId` are told as well.
 */
export function createLog(options: LogOptions = {}): Logger {
  const settings = {
    level: options.level ?? 'info',
    base: { ...options.fields, ...placeFields(options.env ?? process.env) },
    timestamp: stdTimeFunctions.isoTime,
    errorKey: 'error',
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { error: describeError },
    redact: { paths: SECRETS, censor: '***' },
    hooks: { streamWrite: redactSecrets },
    mixin: activeTraceFields,
  }
  return pino(settings, options.destination ?? stdout())
}

function stdout(): DestinationStream {
  // Synchronous writes: the last line before a crash is the one that matters.
  const out = pino.destination({ dest: 1, sync: true })
  return process.stdout.isTTY ? { write: (line) => out.write(prettyLine(line)) } : out
}

function describeError(thrown: unknown): Record<string, unknown> {
  if (!(thrown instanceof Error)) return { type: typeof thrown, message: String(thrown) }
  const code: unknown = Reflect.get(thrown, 'code')
  return {
    type: thrown.name,
    message: thrown.message,
    stack: traceback(thrown),
    ...(typeof code === 'string' ? { code } : {}),
  }
}

/** The stack of an error and of its causes, as text. */
export function traceback(error: Error): string {
  const parts: string[] = []
  let current: unknown = error
  for (let depth = 0; current instanceof Error && depth < 8; depth++) {
    parts.push((depth === 0 ? '' : 'Caused by: ') + (current.stack ?? `${current.name}: ${current.message}`))
    current = current.cause
  }
  return parts.join('\n')
}
