// `@taskqueue/runtime`: what an application imports.
export { TaskApp, isTaskApp, type SendOptions, type Task, type TaskAppOptions } from './app.ts'
export { AsyncResult, type GetOptions } from './results/async-result.ts'
export { Canvas, CanvasResult, type SignatureOptions } from './canvas/canvas.ts'
export {
  PermanentError,
  RetryRequest,
  type RetryOptions,
  type TaskContext,
  type TaskHandler,
  type TaskOptions,
} from './task.ts'
export { BrokerError, MessageError, ResultError, TaskQueueError, UsageError } from './errors.ts'
export { readSettings, type Settings } from './settings.ts'
export { TaskWorker, type WorkerOptions } from './worker/worker.ts'
export { TaskAborted } from './worker/execution.ts'
export type { InstantLike } from './protocol/instant.ts'
export type { StoredResult, TaskState } from './protocol/result.ts'
export { createLog, type Logger } from './log.ts'
export { VERSION } from './version.ts'
