// `@taskqueue/runtime/log`: one JSON object a line on stdout, with the field names of docs/logging.md.
import { pino, stdTimeFunctions, type DestinationStream, type Logger as PinoLogger } from 'pino'
import type { LogLevel } from './settings.ts'

/** A logger; child() adds fields. */
export type Logger = PinoLogger

/** How a logger is made. */
export interface LogOptions {
  readonly level?: LogLevel
  /** Fields of every line, such as `service`. */
  readonly fields?: Readonly<Record<string, unknown>>
  /** Where lines go; stdout by default. */
  readonly destination?: DestinationStream
}

/** A JSON logger: `time` is ISO-8601, `level` a word, an error is `error.type`, `error.message`, `error.stack_trace`. */
export function createLog(options: LogOptions = {}): Logger {
  const settings = {
    level: options.level ?? 'info',
    base: options.fields ? { ...options.fields } : {},
    timestamp: stdTimeFunctions.isoTime,
    messageKey: 'message',
    errorKey: 'error',
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { error: describeError },
  }
  // Synchronous writes: the last line before a crash is the one that matters.
  return pino(settings, options.destination ?? pino.destination({ dest: 1, sync: true }))
}

function describeError(thrown: unknown): Record<string, unknown> {
  if (!(thrown instanceof Error)) return { type: typeof thrown, message: String(thrown) }
  const code: unknown = Reflect.get(thrown, 'code')
  return {
    type: thrown.name,
    message: thrown.message,
    stack_trace: traceback(thrown),
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
