// The tasks of a campaign on a Node worker: each leaves a trace in the ledger that HISTORY_LEDGER names. Their twins in Python are in
// history_app.py.

import { setTimeout as delay } from 'node:timers/promises'
import { TaskApp, type TaskContext } from '@taskqueue/runtime'
import { append, now } from './history.ts'

const ledger = process.env['HISTORY_LEDGER'] ?? ''
export const FAILURES = 2
export const MAX_RETRIES = 2

export const app = new TaskApp({ name: 'history' })

async function traced(ctx: TaskContext, id: string, millis: number, fails = false): Promise<string> {
  const run = { id, attempt: ctx.attempt, pid: process.pid }
  append(ledger, { what: 'begin', ...run, at: now() })
  if (millis > 0) await delay(millis)
  append(ledger, { what: fails ? 'threw' : 'end', ...run, at: now() })
  if (fails) throw new Error(`${id} fails, as it is to`)
  return id
}

app.task('h.work', traced)
app.task(
  'h.flaky',
  { maxRetries: FAILURES, retryBackoffSeconds: 1, retryBackoffMaxSeconds: 2 },
  (ctx, id: string, millis: number) => traced(ctx, id, millis, ctx.attempt <= FAILURES),
)
app.task('h.doomed', { maxRetries: MAX_RETRIES - 1, retryBackoffSeconds: 1 }, (ctx, id: string, millis: number) =>
  traced(ctx, id, millis, true),
)
app.task('h.body', (ctx, parts: readonly string[], id: string) => traced(ctx, id, parts.length))
app.task('h.slot', (ctx, schedule: string) => {
  const { id, scheduledFor = 0, attempt } = ctx
  append(ledger, { what: 'slot', schedule, slot: scheduledFor, id, attempt, pid: process.pid, at: now() })
})
