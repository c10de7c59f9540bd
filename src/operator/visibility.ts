// Whether a Celery worker's task may outlive the broker's visibility timeout and so be delivered twice. Pure. Node's workers renew what
// they hold, however long it takes.

import type { Finding } from './conditions.ts'
import { GRACE_MARGIN_SECONDS } from './desired/worker.ts'
import type { Skew } from './skew.ts'
import type { TaskQueue } from './taskqueue.ts'

/** The finding about workers, with the warning beside what it says. It costs nobody the condition. */
export function withVisibility(workers: Finding, queue: TaskQueue, skew: Skew): Finding {
  const warning = visibilityWarning(queue, skew)
  if (warning === undefined) return workers
  const message = `${workers.message}${/[.!?]$/.test(workers.message) ? '' : '.'} ${warning}`
  return { ...workers, message, ...(workers.reason === 'AllReady' ? { reason: 'VisibilityTimeoutShort' } : {}) }
}

/** Undefined while the longest task, the time to end it and the clocks' skew together are below the timeout. */
function visibilityWarning({ spec }: TaskQueue, { broker }: Skew): string | undefined {
  if (spec.engine !== 'Celery') return undefined
  const [longest] = (spec.workers ?? []).toSorted((a, b) => b.maxTaskSeconds - a.maxTaskSeconds)
  if (!longest) return undefined
  // kombu scores what it holds by its own host's clock, and every other worker judges it by theirs.
  const skew = Math.ceil(Math.abs(broker?.seconds ?? 0))
  const needed = longest.maxTaskSeconds + GRACE_MARGIN_SECONDS + skew
  const timeout = spec.broker.visibilityTimeoutSeconds
  if (needed < timeout) return undefined
  const parts = `${longest.maxTaskSeconds}s of pool ${longest.name}'s longest task, ${GRACE_MARGIN_SECONDS}s to end it and ${skew}s of skew`
  return `A task may be delivered twice: ${parts} reach the visibility timeout of ${timeout}s. Set spec.broker.visibilityTimeoutSeconds, and the app's own broker_transport_options, above ${needed}s.`
}
