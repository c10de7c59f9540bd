// The error tracker for OpenTelemetry: what goes wrong is on the span of the attempt, or on one of its own where none is active.
import type * as OpenTelemetryApi from '@opentelemetry/api'
import type { Attributes, Span, Tracer, TracerProvider } from '@opentelemetry/api'
import type { ErrorReport, ErrorTracker } from '../reports.ts'
import { RETRY_REASON } from './attributes.ts'

export class SpanTracker implements ErrorTracker {
  readonly #api: typeof OpenTelemetryApi
  readonly #tracer: Tracer
  readonly #provider: TracerProvider

  constructor(api: typeof OpenTelemetryApi, tracer: Tracer, provider: TracerProvider) {
    this.#api = api
    this.#tracer = tracer
    this.#provider = provider
  }

  capture(report: ErrorReport): void {
    const active = this.#api.trace.getActiveSpan()
    // Messages that did not run, and slots that were not sent, have no span that could tell of them.
    const alone = report.kind === 'missed' || (report.kind === 'dead' && report.attempt === undefined)
    if (active && !alone) {
      this.#note(active, report, true)
      return
    }
    const { SpanKind, ROOT_CONTEXT } = this.#api
    const span = this.#tracer.startSpan(`taskqueue ${report.kind}`, { kind: SpanKind.INTERNAL }, ROOT_CONTEXT)
    this.#note(span, report, false)
    span.end()
  }

  async flush(): Promise<void> {
    // The API knows no flush; providers of the SDK have one, behind the API's proxy or not.
    const delegate = call(this.#provider, 'getDelegate') ?? this.#provider
    await call(delegate, 'forceFlush')
  }

  /** @param told whether an `error` has told of the exception of a `dead` already */
  #note(span: Span, report: ErrorReport, told: boolean): void {
    const { SpanStatusCode } = this.#api
    switch (report.kind) {
      case 'error':
        span.recordException(report.error)
        span.setStatus({ code: SpanStatusCode.ERROR, message: report.error.message })
        return
      case 'retry':
        span.setAttribute(RETRY_REASON, report.error.message)
        span.addEvent('retry', {
          ...exception(report),
          'taskqueue.countdown_seconds': report.countdown,
          'taskqueue.attempt': report.attempt,
        })
        return
      case 'dead':
        span.addEvent('dead', {
          'taskqueue.dead.reason': report.reason,
          'taskqueue.dead_letter': report.deadLetter,
          'messaging.destination.name': report.queue,
        })
        if (told) return
        span.recordException(report.error)
        span.setStatus({ code: SpanStatusCode.ERROR, message: report.error.message })
        return
      case 'recovered':
        span.addEvent('recovered', { 'taskqueue.lost_deliveries': report.lostDeliveries })
        return
      case 'missed':
        span.setAttributes({
          'taskqueue.schedule': report.schedule,
          'celery.task_name': report.task,
          'taskqueue.scheduled_for': report.scheduledFor.toISOString(),
          'taskqueue.missed_count': report.count,
        })
        span.setStatus({ code: SpanStatusCode.ERROR, message: `the slot was not sent: ${report.reason}` })
        return
    }
  }
}

function exception({ error, stack }: { readonly error: Error; readonly stack: string }): Attributes {
  return { 'exception.type': error.name, 'exception.message': error.message, 'exception.stacktrace': stack }
}

function call(target: object, method: string): unknown {
  const found: unknown = Reflect.get(target, method)
  return typeof found === 'function' ? Reflect.apply(found, target, []) : undefined
}
