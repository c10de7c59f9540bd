// `@taskqueue/runtime`: what an application imports.
export type { SendOptions } from './call.ts'
export type { AppListener } from './listeners.ts'
export type { AppEvents, ErrorReport, ErrorTracker, FailureReport, TaskReport } from './reports.ts'
export type { Tracing } from './tracing.ts'
export { TaskApp, isTaskApp, type Task, type TaskAppOptions } from './app.ts'
export { AsyncResult, type GetOptions } from './results/async-result.ts'
export { Canvas, CanvasResult, type SignatureOptions } from './canvas/canvas.ts'
export {
  PermanentError,
  RejectRequest,
  RetryRequest,
  type RetryBackoff,
  type RetryOptions,
  type TaskContext,
  type TaskHandler,
  type TaskOptions,
  type Uniqueness,
} from './task.ts'
export type { Schema, SchemaIssue, SchemaResult } from './schema.ts'
export { BrokerError, MessageError, ResultError, TaskQueueError, UsageError } from './errors.ts'
export { readSettings, type Settings } from './settings.ts'
export { TaskWorker, type WorkerOptions } from './worker/worker.ts'
export { TaskAborted } from './worker/execution.ts'
export type { InstantLike } from './protocol/instant.ts'
export type { StoredResult, TaskState } from './protocol/result.ts'
export { createLog, type Logger } from './log.ts'
export { VERSION } from './version.ts'
export { Scheduler, type AddJobOptions, type Job, type SchedulerOptions } from './scheduler/scheduler.ts'
export type { JobContext, JobEvent, JobFunction, SchedulerEvents } from './scheduler/job-runs.ts'
export type { JobRecord, JobStore, RunRecord } from './scheduler/job-store.ts'
export { MemoryJobStore } from './scheduler/memory-store.ts'
export { RedisJobStore, type RedisJobStoreOptions } from './scheduler/redis-store.ts'
export { SqliteJobStore } from './scheduler/sqlite-store.ts'
export { at, cron, every, type TriggerSpec } from './scheduler/triggers.ts'
