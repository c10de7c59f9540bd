// The task whose code runs now, however deep in its calls: what those that it sends inherit, and to whom an error belongs that nobody
// caught. Not what a handler is given: that is task.ts's.
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Logger } from './log.ts'
import type { TraceHeaders } from './trace-headers.ts'

export interface CurrentTask {
  readonly id: string
  readonly rootId: string
  /** What its children carry on. */
  readonly trace: TraceHeaders
  /** Of every line that is about it. */
  readonly logFields: Readonly<Record<string, string | number>>
  /** Its attempt fails with an error that nobody caught. @returns false when it has ended already */
  fail(error: Error): boolean
}

/** One for the process, across copies of this package: the worker may come from another one than the app. */
const KEY: unique symbol = Symbol.for('taskqueue.current-task') as never

function shared(): AsyncLocalStorage<CurrentTask> {
  const known = Reflect.get(globalThis, KEY) as AsyncLocalStorage<CurrentTask> | undefined
  const storage = known ?? new AsyncLocalStorage<CurrentTask>()
  if (!known) Reflect.set(globalThis, KEY, storage)
  return storage
}

const storage = shared()

/** Undefined outside of tasks. In a listener of `unhandledRejection` it is the task whose code made the promise. */
export function currentTask(): CurrentTask | undefined {
  return storage.getStore()
}

/** Calls a function as the code of a task. */
export function asTask<T>(task: CurrentTask, run: () => T): T {
  return storage.run(task, run)
}

/** Calls functions later as if from here, whatever task's code calls them then. */
export function fromHere(): <T>(run: () => T) => T {
  return AsyncLocalStorage.snapshot()
}

/** In a listener of `unhandledRejection`: has the task fail whose code made the promise. @returns false for a promise that is no task's */
export function failTask(error: Error, log: Logger): boolean {
  const task = currentTask()
  if (!task) return false
  const fields = { event: 'unhandled-rejection', error, ...task.logFields }
  if (task.fail(error)) log.error(fields, 'a promise of this task was rejected and nobody looked: this attempt fails')
  else log.error(fields, 'a promise of this task was rejected and nobody looked; the attempt had ended already')
  return true
}
