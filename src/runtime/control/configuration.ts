// A worker's settings under Celery's names, for `celery inspect conf` and Flower. Secrets are not among them.
import { showBroker } from '../broker/redis/url.ts'
import type { Settings } from '../settings.ts'

export function celeryNames(settings: Settings, concurrency: number): Record<string, unknown> {
  return {
    broker_url: showBroker(settings.brokerUrl),
    result_backend: showBroker(settings.resultUrl),
    result_expires: settings.resultTtlSeconds,
    task_default_queue: settings.defaultQueue,
    task_acks_late: settings.acksLate,
    task_serializer: 'json',
    result_serializer: 'json',
    accept_content: ['json'],
    worker_concurrency: concurrency,
    worker_prefetch_multiplier: 1,
    broker_transport_options: {
      visibility_timeout: settings.visibilityTimeoutSeconds,
      ...(settings.keyPrefix === '' ? {} : { global_keyprefix: settings.keyPrefix }),
    },
  }
}
