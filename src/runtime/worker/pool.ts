// Where handlers run. A pool calls them and tells how they ended; what follows from that is runner.ts's.
import type { RegisteredTask } from '../task.ts'
import type { Execution } from './execution.ts'

export interface TaskPool {
  /** For `inspect stats`. */
  readonly name: string
  /** Whether it can end a task that doesn't end by itself. */
  readonly endsTasks: boolean
  /** Before the first task: what the app opens in its onStart hooks. */
  start(): Promise<void>
  /** Runs a handler to its end. Rejects with what it threw. */
  run(task: RegisteredTask, execution: Execution, args: readonly unknown[]): unknown
  /** Ends a task now, where the pool can: its run rejects with `reason`. */
  end(execution: Execution, reason: Error): void
  /** After the last task: the app's onStop hooks, and whatever the pool has itself. */
  close(): Promise<void>
}

/** The hooks of an app. */
export interface AppHooks {
  /** Runs the hooks in the order in which they were added. */
  runStartHooks(): Promise<void>
  /** Runs all of them, the last one added first; errors are told, and stop none of the others. */
  runStopHooks(onError: (error: unknown) => void): Promise<void>
}

/** The pool `async`: handlers share the worker's event loop. */
export class InlinePool implements TaskPool {
  readonly name = 'taskqueue:async'
  readonly endsTasks = false
  readonly #hooks: AppHooks
  readonly #onError: (error: unknown) => void

  constructor(hooks: AppHooks, onError: (error: unknown) => void) {
    this.#hooks = hooks
    this.#onError = onError
  }

  start(): Promise<void> {
    return this.#hooks.runStartHooks()
  }

  run(task: RegisteredTask, execution: Execution, args: readonly unknown[]): unknown {
    return task.handler(execution, ...args)
  }

  end(): void {
    // In one event loop a handler ends when it ends.
  }

  close(): Promise<void> {
    return this.#hooks.runStopHooks(this.#onError)
  }
}
