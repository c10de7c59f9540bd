// Spans of what is sent and run, with W3C trace context in between. What goes wrong in them is span-tracker.ts's.
import type * as OpenTelemetryApi from '@opentelemetry/api'
import type { Context, Span, Tracer } from '@opentelemetry/api'
import { asError } from '../errors.ts'
import { traceHeaders, type TraceHeaders } from '../trace-headers.ts'
import type { RunMessage, RunSpan, SendSpan, SentMessage, Tracing } from '../tracing.ts'
import { runAttributes, sendAttributes } from './attributes.ts'

export class Spans implements Tracing {
  readonly #api: typeof OpenTelemetryApi
  readonly #tracer: Tracer

  constructor(api: typeof OpenTelemetryApi, tracer: Tracer) {
    this.#api = api
    this.#tracer = tracer
  }

  send(message: SentMessage): SendSpan {
    const { context, trace, SpanKind, SpanStatusCode, ROOT_CONTEXT } = this.#api
    const from = message.scheduled ? ROOT_CONTEXT : context.active()
    const kind = { kind: SpanKind.PRODUCER, attributes: sendAttributes(message) }
    const span = this.#tracer.startSpan(`apply_async/${message.task}`, kind, from)
    return {
      headers: this.#headers(trace.setSpan(from, span)),
      end: (error?: unknown) => {
        if (error !== undefined) {
          span.recordException(asError(error))
          span.setStatus({ code: SpanStatusCode.ERROR, message: asError(error).message })
        }
        span.end()
      },
    }
  }

  run(message: RunMessage): RunSpan {
    const { context, trace, SpanKind } = this.#api
    const kind = { kind: SpanKind.CONSUMER, attributes: runAttributes(message, message.workerName) }
    const from = this.#extracted(traceHeaders(message.headers))
    const span = this.#tracer.startSpan(`run/${message.task}`, kind, from)
    const within = trace.setSpan(from, span)
    return {
      headers: this.#headers(within),
      within: (run) => context.with(within, run),
      end: () => endOnce(span),
    }
  }

  resume<T>(headers: TraceHeaders, run: () => T): T {
    return this.#api.context.with(this.#extracted(headers), run)
  }

  #headers(context: Context): TraceHeaders {
    const headers: Record<string, unknown> = {}
    this.#api.propagation.inject(context, headers)
    return traceHeaders(headers)
  }

  /** The message alone says what it is part of: not what this process happens to be doing. */
  #extracted(headers: TraceHeaders): Context {
    return this.#api.propagation.extract(this.#api.ROOT_CONTEXT, headers)
  }
}

/** One that ran over its hard limit has been ended when its handler ends. */
function endOnce(span: Span): void {
  if (span.isRecording()) span.end()
}
