// What the runtime asks of whoever makes spans. It knows no tracing library: opentelemetry/ is one that fits.
import type { TraceHeaders } from './trace-headers.ts'

/** A message that is about to be sent. */
export interface SentMessage {
  readonly id: string
  readonly task: string
  readonly queue: string
  /** Attempts before the one that it asks for. */
  readonly retries: number
  /** Nothing that goes on now is its reason: its time has come. */
  readonly scheduled: boolean
}

/** A message that is about to be run. */
export interface RunMessage extends Omit<SentMessage, 'scheduled'> {
  readonly headers: Readonly<Record<string, unknown>>
  readonly workerName: string
}

/** The sending of one message. */
export interface SendSpan {
  /** What the message is to carry. */
  readonly headers: TraceHeaders
  /** It is sent, or was not for an error. */
  end(error?: unknown): void
}

/** One attempt of one task. */
export interface RunSpan {
  /** What continues it elsewhere: in a thread, in a message. */
  readonly headers: TraceHeaders
  /** Calls a function as a part of it, with all that it begins. */
  within<T>(run: () => T): T
  end(): void
}

export interface Tracing {
  send(message: SentMessage): SendSpan
  run(message: RunMessage): RunSpan
  /** Goes on with what began elsewhere. */
  resume<T>(headers: TraceHeaders, run: () => T): T
}

/** The span that is active where a line is logged. */
export interface ActiveTrace {
  readonly traceId: string
  readonly spanId: string
}

/** One for the process, across copies of this package: the log may come from another one than the app. */
const KEY: unique symbol = Symbol.for('taskqueue.active-trace') as never

/** Says who knows which span is active. */
export function tellActiveTrace(active: () => ActiveTrace | undefined): void {
  Reflect.set(globalThis, KEY, active)
}

/** The active span's ids, as fields of a log line; a new object each time. */
export function activeTraceFields(): object {
  const active = Reflect.get(globalThis, KEY) as (() => ActiveTrace | undefined) | undefined
  return active === undefined ? {} : { ...active() }
}
