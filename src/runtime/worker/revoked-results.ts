// Says in the results of tasks that were called off before they began that they are revoked, as a Python worker does: whoever waits
// hears of it at once, not when the task's turn comes.
import type { Store } from '../broker/store.ts'
import { decodeResult, encodeResult } from '../protocol/result.ts'
import { revokedFailure } from './outcome.ts'

/** States of tasks that have not begun. */
const NOT_BEGUN = new Set(['PENDING', 'RECEIVED', 'RETRY', 'REJECTED'])

/** Never over the end of a task. @throws BrokerError */
export async function tellRevoked(
  ids: readonly string[],
  results: Pick<Store, 'readResult' | 'writeResult'>,
  { ttlSeconds, now }: { ttlSeconds: number; now: number },
): Promise<void> {
  for (const taskId of ids) {
    const stored = decodeResult((await results.readResult(taskId)) ?? '{}')
    if (stored && !NOT_BEGUN.has(stored.status)) continue
    const result = revokedFailure('revoked')
    const json = encodeResult({ taskId, status: 'REVOKED', result, traceback: null, doneAt: now })
    await results.writeResult({ taskId, json, ttlSeconds })
  }
}
