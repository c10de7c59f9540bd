// The time that a task may take: a soft limit, which asks it to end, and a hard one, after which its attempt has failed.
import type { Clock, Timer } from '../clock.ts'
import type { ResolvedTaskOptions } from '../task.ts'
import { TaskAborted, type Execution } from './execution.ts'

export interface TimeLimitDeps {
  readonly clock: Clock
  /** Nobody renews the lease beyond so many seconds: an event loop that is blocked can't tell of its hard limit itself. */
  readonly limitLease: (execution: Execution, seconds: number) => void
  readonly onHardLimit: (execution: Execution, error: Error) => void
}

/**
 * Watches over one execution. The message's limits win over the task's.
 * @returns ends the watch
 */
export function watchTimeLimits(
  execution: Execution,
  options: Pick<ResolvedTaskOptions, 'softTimeLimitSeconds' | 'hardTimeLimitSeconds'>,
  { clock, limitLease, onHardLimit }: TimeLimitDeps,
): () => void {
  const soft = execution.message.softTimeLimitSeconds ?? options.softTimeLimitSeconds
  const hard = execution.message.hardTimeLimitSeconds ?? options.hardTimeLimitSeconds
  if (soft === undefined && hard === undefined) return nothing
  const timers: Timer[] = []
  if (soft !== undefined) {
    const abort = (): void => {
      execution.log.warn({ event: 'soft-time-limit', limit_seconds: soft }, 'the soft time limit is over')
      execution.abort(new TaskAborted('TimeLimit', `the soft time limit of ${soft} s is over`))
    }
    timers.push(clock.after(soft * 1000, abort))
  }
  if (hard !== undefined) {
    limitLease(execution, hard)
    const error = new Error(`the hard time limit of ${hard} s is over`)
    error.name = 'TimeLimitExceeded'
    timers.push(clock.after(hard * 1000, () => onHardLimit(execution, error)))
  }
  return () => {
    for (const timer of timers) timer.cancel()
  }
}

const nothing = (): void => undefined
