// The attributes of spans: OpenTelemetry's semantic conventions for messaging (1.45), and beside them the names that
// opentelemetry-instrumentation-celery 0.66 sets, so that one search finds Node's and Python's spans. Pure.
import type { Attributes } from '@opentelemetry/api'

export const RETRY_REASON = 'celery.retry.reason'

/** What a span is about. */
export interface Subject {
  readonly id: string
  readonly task: string
  readonly queue: string
  readonly retries: number
}

export function sendAttributes(subject: Subject): Attributes {
  return { ...common(subject), 'celery.action': 'apply_async', ...operation('apply_async', 'send') }
}

export function runAttributes(subject: Subject, workerName: string): Attributes {
  return { ...common(subject), 'celery.action': 'run', 'celery.hostname': workerName, ...operation('run', 'process') }
}

function common({ id, task, queue, retries }: Subject): Attributes {
  return {
    'messaging.system': 'celery',
    'messaging.destination.name': queue,
    // The older name, which Python's instrumentation still has.
    'messaging.destination': queue,
    'messaging.message.id': id,
    'messaging.message.conversation_id': id,
    'celery.task_name': task,
    ...(retries > 0 ? { 'celery.retries': retries } : {}),
  }
}

function operation(name: string, type: 'send' | 'process'): Attributes {
  return { 'messaging.operation.name': name, 'messaging.operation.type': type }
}
