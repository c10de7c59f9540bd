// `@taskqueue/runtime/opentelemetry`: spans for what an app sends and runs, and its failures on them. It uses the API alone; which SDK
// takes the spans, and where they go, is the application's to say.
import { createRequire } from 'node:module'
import type * as OpenTelemetryApi from '@opentelemetry/api'
import type { TracerProvider } from '@opentelemetry/api'
import type { TaskApp } from '../app.ts'
import { UsageError } from '../errors.ts'
import { tellActiveTrace } from '../tracing.ts'
import { VERSION } from '../version.ts'
import { SpanTracker } from './span-tracker.ts'
import { Spans } from './spans.ts'

export interface OpenTelemetryOptions {
  /** Where spans go; the one that is registered with the API by default, also when that is done later. */
  readonly tracerProvider?: TracerProvider
}

/**
 * Traces an app: a PRODUCER span for each message that it sends, a CONSUMER span for each attempt that it runs, and W3C trace context in
 * the headers of messages, as opentelemetry-instrumentation-celery has it. Log lines within a span tell `traceId` and `spanId`. Call it
 * once, where the app is made: in workers, producers and beat alike.
 * @throws UsageError `OpenTelemetryMissing` when @opentelemetry/api is not installed, `TracingTwice`
 */
export function opentelemetry(app: TaskApp, options: OpenTelemetryOptions = {}): void {
  const api = loadApi()
  const provider = options.tracerProvider ?? api.trace.getTracerProvider()
  const tracer = provider.getTracer('@taskqueue/runtime', VERSION)
  app.trace(new Spans(api, tracer))
  app.track(new SpanTracker(api, tracer, provider))
  tellActiveTrace(() => {
    const context = api.trace.getActiveSpan()?.spanContext()
    if (!context || !api.isSpanContextValid(context)) return undefined
    return { traceId: context.traceId, spanId: context.spanId }
  })
}

/** Not imported: it is an optional peer, and who lacks it shall read how to get it. Its state is one for the process, however it is loaded. */
function loadApi(): typeof OpenTelemetryApi {
  try {
    return createRequire(import.meta.url)('@opentelemetry/api') as typeof OpenTelemetryApi
  } catch (error) {
    throw new UsageError(
      'OpenTelemetryMissing',
      'tracing needs the package @opentelemetry/api beside this one, and an SDK of your choice: npm install @opentelemetry/api',
      { cause: error },
    )
  }
}
