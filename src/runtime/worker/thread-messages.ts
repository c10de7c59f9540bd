// What a worker and the threads of its pool tell each other. Plain data only.
import type { MessagePort } from 'node:worker_threads'
import type { LogLevel } from '../settings.ts'
import type { TraceHeaders } from '../trace-headers.ts'
import type { TaskAborted } from './execution.ts'

/** What a thread is started with. */
export interface ThreadSettings {
  /** The module of the app. */
  readonly appFile: string
  /** The channel on which threads are told to stop. */
  readonly channel: string
  readonly logLevel: LogLevel
  readonly logFields: Readonly<Record<string, unknown>>
}

/** A task for a thread. */
export interface ThreadTask {
  readonly id: string
  readonly task: string
  readonly queue: string
  readonly attempt: number
  readonly redelivered: boolean
  /** Of every line that it logs. */
  readonly logFields: Readonly<Record<string, string | number>>
  readonly scheduledFor: number | undefined
  readonly headers: Readonly<Record<string, unknown>>
  readonly rootId: string
  /** What its children carry on. */
  readonly trace: TraceHeaders
  readonly kwargs: Readonly<Record<string, unknown>>
  readonly args: readonly unknown[]
}

/** What the pool calls a thread with. */
export interface ThreadCall {
  readonly task?: ThreadTask
  readonly port?: MessagePort
}

/** From the worker, on the port of one task. */
export type ToThread =
  | { readonly kind: 'abort'; readonly code: TaskAborted['code']; readonly message: string }
  | { readonly kind: 'progressed'; readonly number: number; readonly error: string | undefined }

/** From the thread, on the port of one task. */
export interface FromThread {
  readonly kind: 'progress'
  readonly number: number
  /** As JSON. */
  readonly meta: string
}

/** An error on its way between threads: classes don't survive it. */
export interface PlainError {
  readonly name: string
  readonly message: string
  readonly stack: string | undefined
  /** No retry can cure it. */
  readonly final: boolean
}

/** How a task ended in its thread. */
export type ThreadOutcome =
  /** `json` is undefined when the handler returned nothing. */
  | { readonly kind: 'value'; readonly json: string | undefined }
  | { readonly kind: 'error'; readonly error: PlainError }
  | { readonly kind: 'reject'; readonly reason: string }
  | {
      readonly kind: 'retry'
      readonly countdown: number | undefined
      /** ISO-8601. */
      readonly eta: string | undefined
      readonly maxRetries: number | undefined
      readonly error: PlainError | undefined
    }

/** Told to all threads, and by each of them once its hooks have run. */
export type StopMessage = 'stop' | 'stopped'
