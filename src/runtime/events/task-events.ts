// The life of a task as Celery's events tell it. Off until someone wants them: they cost a message each.
import { asError } from '../errors.ts'
import { traceback } from '../log.ts'
import { formatInstant } from '../protocol/instant.ts'
import { pythonRepr, pythonTuple } from '../protocol/python-repr.ts'
import type { TaskMessage } from '../protocol/task-message.ts'
import type { EventSender } from './event-sender.ts'

export class TaskEvents {
  readonly #sender: Pick<EventSender, 'buffer'>
  /** Switched by --events, enable_events and disable_events. */
  enabled: boolean

  constructor(sender: Pick<EventSender, 'buffer'>, enabled: boolean) {
    this.#sender = sender
    this.enabled = enabled
  }

  received(message: TaskMessage): void {
    if (!this.enabled) return
    this.#sender.buffer('task-received', {
      uuid: message.id,
      name: message.task,
      args: pythonTuple(message.args),
      kwargs: pythonRepr(message.kwargs),
      root_id: message.rootId ?? null,
      parent_id: message.parentId ?? null,
      retries: message.retries,
      eta: message.eta === undefined ? null : formatInstant(message.eta),
      expires: message.expires === undefined ? null : formatInstant(message.expires),
    })
  }

  started(message: TaskMessage): void {
    if (this.enabled) this.#sender.buffer('task-started', { uuid: message.id })
  }

  /** @param seconds how long it ran */
  succeeded(message: TaskMessage, value: unknown, seconds: number): void {
    if (this.enabled)
      this.#sender.buffer('task-succeeded', { uuid: message.id, result: pythonRepr(value), runtime: seconds })
  }

  failed(message: TaskMessage, thrown: unknown): void {
    if (this.enabled) this.#sender.buffer('task-failed', { uuid: message.id, ...describe(thrown) })
  }

  rejected(message: TaskMessage): void {
    if (this.enabled) this.#sender.buffer('task-rejected', { uuid: message.id, requeue: false })
  }

  retried(message: TaskMessage, thrown: unknown): void {
    if (this.enabled) this.#sender.buffer('task-retried', { uuid: message.id, ...describe(thrown) })
  }

  revoked(message: TaskMessage, { expired, terminated }: { expired: boolean; terminated: boolean }): void {
    if (this.enabled) {
      const signum = terminated ? 15 : null
      this.#sender.buffer('task-revoked', { uuid: message.id, terminated, signum, expired })
    }
  }
}

function describe(thrown: unknown): { exception: string; traceback: string } {
  const error = asError(thrown)
  return { exception: `${error.name}(${pythonRepr(error.message)})`, traceback: traceback(error) }
}
