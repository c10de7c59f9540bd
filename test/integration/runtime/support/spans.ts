// OpenTelemetry's own SDK in a process of a test: every span that ends is a line in a file.
import { context, propagation, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { BasicTracerProvider, SimpleSpanProcessor, type ReadableSpan } from '@opentelemetry/sdk-trace-base'
import { append, lines } from './jsonlines.ts'

/** A span, of Node or Python. */
export interface SpanLine {
  readonly name: string
  /** `PRODUCER`, `CONSUMER`... */
  readonly kind: string
  readonly traceId: string
  readonly spanId: string
  readonly parentId: string | null
  readonly status: string
  readonly attributes: Readonly<Record<string, unknown>>
  readonly events: readonly { readonly name: string; readonly attributes?: Readonly<Record<string, unknown>> }[]
  readonly pid: number
}

const KINDS = ['INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER']
const STATUSES = ['UNSET', 'OK', 'ERROR']

let file = ''

/** Has the spans that end from now on written to another file. */
export function recordInto(path: string): void {
  file = path
}

/** Has all spans of this process written to a file. Once for a process. */
export function recordSpans(path: string): void {
  file = path
  const exporter = {
    export: (spans: ReadableSpan[], done: (result: { code: number }) => void) => {
      for (const span of spans) append(file, lineOf(span))
      done({ code: 0 })
    },
    shutdown: () => Promise.resolve(),
  }
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }))
}

function lineOf(span: ReadableSpan): SpanLine {
  const { traceId, spanId } = span.spanContext()
  return {
    name: span.name,
    kind: KINDS[span.kind] ?? '',
    traceId,
    spanId,
    parentId: span.parentSpanContext?.spanId ?? null,
    status: STATUSES[span.status.code] ?? '',
    attributes: span.attributes,
    events: span.events.map(({ name, attributes = {} }) => ({ name, attributes })),
    pid: process.pid,
  }
}

export function spansIn(path: string): SpanLine[] {
  return lines(path) as unknown as SpanLine[]
}
