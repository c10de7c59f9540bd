// What an app tells of its tasks, for people and error trackers: the events of `app.on()`. The shapes alone; who listens is listeners.ts's.

/** A task, as every report names it. Its arguments are in none: they may be anybody's data. */
export interface TaskReport {
  /** The task's id, the same in every attempt. */
  readonly id: string
  readonly task: string
  /** The task that it all began with; the task itself when nothing did. */
  readonly rootId: string
  /** The task that sent it, or, for a retry, the one that it repeats. */
  readonly parentId: string | undefined
  readonly queue: string
  /** 1 for the first attempt. */
  readonly attempt: number
  /** `celery@<hostname>`; `eager` in eager mode. */
  readonly workerName: string
}

/** An attempt that failed. */
export interface FailureReport extends TaskReport {
  /** What was thrown, or an Error made of it. In the pool `threads` name, message and stack are the thread's, and the class is lost. */
  readonly error: Error
  /** The stacks of the error and of its causes. */
  readonly stack: string
}

/** What `app.on()` tells, by event. */
export interface AppEvents {
  /** An attempt failed, and there will be no other: the task is dead. A `dead` follows. */
  readonly error: FailureReport & { readonly willRetry: false }
  /** An attempt failed, and there will be another. */
  readonly retry: FailureReport & {
    readonly willRetry: true
    /** When the next attempt is due. */
    readonly dueAt: Date
    /** Seconds until then, 0 or more. */
    readonly countdown: number
  }
  /** A message is among the dead letters: a task that failed for good, one that nobody knows here, or a message that can't be read. */
  readonly dead: Partial<TaskReport> & {
    readonly queue: string
    readonly workerName: string
    /** A code: `RetriesSpent`, `NotRegistered`, `NotJson`... ([events](../../docs/logging.md#events)). */
    readonly reason: string
    /** What `taskqueue dead show` takes. */
    readonly deadLetter: string
    readonly error: Error
    readonly stack: string
  }
  /**
   * A message whose worker was lost runs again. Not told of one that its worker gave back in order, nor of one that a Celery worker put
   * back: the wire says of neither that anybody was lost.
   */
  readonly recovered: TaskReport & {
    /** How many workers were lost while they had it, 1 or more. */
    readonly lostDeliveries: number
  }
  /** Beat did not send slots of a schedule: they were too long ago, or can't be sent. Of a stretch of slots it is told once. */
  readonly missed: {
    readonly schedule: string
    readonly task: string
    /** The newest slot of them. */
    readonly scheduledFor: Date
    /** Seconds from that slot until now. */
    readonly latenessSeconds: number
    readonly reason: string
    /** Slots that it stands for. */
    readonly count: number
    /** Why it can't be sent. */
    readonly error?: Error
  }
}

/** What an error tracker is given. */
export type ErrorReport = {
  readonly [Name in keyof AppEvents]: { readonly kind: Name } & AppEvents[Name]
}[keyof AppEvents]

/** An error tracker: `app.track()` has it told of all of AppEvents. */
export interface ErrorTracker {
  /**
   * Takes a report. It is called in the worker's own event loop, before the outcome is handed to the broker, which doesn't wait for what
   * it returns. What it throws is logged, and changes nothing for the task.
   */
  capture(report: ErrorReport): unknown
  /** Sends what is still to be sent; called when a worker or a beat stops. @param timeoutMs what is not sent by then is lost */
  flush?(timeoutMs: number): Promise<unknown>
}
