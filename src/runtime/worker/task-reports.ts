// Tells an app's listeners what became of its tasks: makes the reports of reports.ts, and only where somebody listens.
import type { DeadLetter } from '../broker/transport.ts'
import type { Listeners } from '../listeners.ts'
import { traceback, type Logger } from '../log.ts'
import type { TaskMessage } from '../protocol/task-message.ts'
import type { TaskReport } from '../reports.ts'

export interface TaskReportsDeps {
  readonly listeners: Pick<Listeners, 'has' | 'emit'>
  /** `celery@<hostname>` */
  readonly worker: string
  readonly log: Logger
}

export class TaskReports {
  readonly #deps: TaskReportsDeps

  constructor(deps: TaskReportsDeps) {
    this.#deps = deps
  }

  failed(message: TaskMessage, queue: string, error: Error): void {
    const { listeners, log } = this.#deps
    if (!listeners.has('error')) return
    const report = { ...this.#of(message, queue), error, stack: traceback(error), willRetry: false } as const
    listeners.emit('error', report, log)
  }

  /** @param at milliseconds since the epoch: when the next attempt is due, and now */
  retried(
    message: TaskMessage,
    queue: string,
    error: Error,
    at: { readonly dueAt: number; readonly now: number },
  ): void {
    const { listeners, log } = this.#deps
    if (!listeners.has('retry')) return
    const countdown = Math.max(0, at.dueAt - at.now) / 1000
    const when = { dueAt: new Date(Math.max(at.dueAt, at.now)), countdown }
    const report = { ...this.#of(message, queue), error, stack: traceback(error), willRetry: true, ...when } as const
    listeners.emit('retry', report, log)
  }

  /** @param message undefined for one that can't be read */
  dead(letter: DeadLetter, error: Error, message: TaskMessage | undefined): void {
    const { listeners, log, worker } = this.#deps
    if (!listeners.has('dead')) return
    const { queue, reason, id } = letter
    const task = message ? this.#of(message, queue) : { queue, workerName: worker }
    listeners.emit('dead', { ...task, reason, deadLetter: id, error, stack: traceback(error) }, log)
  }

  recovered(message: TaskMessage, queue: string, lostDeliveries: number): void {
    const { listeners, log } = this.#deps
    if (lostDeliveries > 0 && listeners.has('recovered'))
      listeners.emit('recovered', { ...this.#of(message, queue), lostDeliveries }, log)
  }

  #of({ id, task, rootId, parentId, retries }: TaskMessage, queue: string): TaskReport {
    return { id, task, rootId: rootId ?? id, parentId, queue, attempt: retries + 1, workerName: this.#deps.worker }
  }
}
