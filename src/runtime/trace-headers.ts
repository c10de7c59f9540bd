// W3C trace context in the headers of a message, where opentelemetry-instrumentation-celery writes and reads it: at the top level, as
// text. Pure; what the headers say is nobody's business here.
const NAMES = ['traceparent', 'tracestate', 'baggage'] as const

/** What a message carries of a trace; empty for one that is part of none. */
export type TraceHeaders = Readonly<Partial<Record<(typeof NAMES)[number], string>>>

const NONE: TraceHeaders = {}

/** Those of a message's headers that belong to its trace, unread and untouched. */
export function traceHeaders(headers: Readonly<Record<string, unknown>>): TraceHeaders {
  if (headers['traceparent'] === undefined && headers['baggage'] === undefined) return NONE
  const found = NAMES.map((name) => [name, headers[name]] as const)
  return Object.fromEntries(found.filter(([, value]) => typeof value === 'string' && value !== ''))
}
