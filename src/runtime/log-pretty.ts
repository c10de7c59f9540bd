// A log line for a person at a terminal. Everything else gets JSON: see log.ts.

/** Fields that say where a line comes from: a person at a terminal knows. */
const LEFT_OUT = new Set(['time', 'level', 'msg', 'service', 'component', 'taskqueue', 'namespace', 'pod', 'error'])
const COLOURS: Readonly<Record<string, number>> = { trace: 90, debug: 36, info: 32, warn: 33, error: 31, fatal: 35 }

/** One JSON line as text: the time of day, the level, the message, the other fields, and an error's stack below. */
export function prettyLine(line: string): string {
  let fields: Readonly<Record<string, unknown>>
  try {
    fields = JSON.parse(line) as Readonly<Record<string, unknown>>
  } catch {
    return line
  }
  const level = String(fields['level'])
  const { msg } = fields
  const rest = Object.entries(fields)
    .filter(([name]) => !LEFT_OUT.has(name))
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
  const head = `${String(fields['time']).slice(11, 23)} \u001b[${COLOURS[level] ?? 0}m${level.toUpperCase().padEnd(5)}\u001b[0m`
  const said = `${head} ${typeof msg === 'string' ? msg : ''}`
  return `${said}${rest.length > 0 ? ` \u001b[90m${rest.join(' ')}\u001b[0m` : ''}\n${stackOf(fields['error'])}`
}

function stackOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return ''
  const { stack, type, message } = error as { stack?: unknown; type?: unknown; message?: unknown }
  const text = typeof stack === 'string' ? stack : `${String(type)}: ${String(message)}`
  return `${text.replace(/^/gm, '    ')}\n`
}
