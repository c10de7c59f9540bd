// The time that a task may take: a soft limit, which asks it to end, and a hard one, after which its attempt has failed.
import type { Clock, Timer } from '../clock.ts'
import type { ResolvedTaskOptions } from '../task.ts'
import { TaskAborted, type Execution } from './execution.ts'

export interface TimeLimitDeps {
  readonly clock: Clock
  /** Nobody renews the lease beyond so many seconds: an event loop that is blocked can't tell of its hard limit itself. */
  readonly limitLease: (execution: Execution, seconds: number) => void
  readonly onHardLimit: (execution: Execution, error: Error) => void
  /** Notes that a task runs on this event loop, and may for so long; what it returns is called at its end. */
  readonly noteRunning?: ((execution: Execution, hardSeconds: number | undefined) => () => void) | undefined
}

/**
 * Watches over one execution. The message's limits win over the task's.
 * @returns ends the watch
 */
export function watchTimeLimits(
  execution: Execution,
  options: Pick<ResolvedTaskOptions, 'softTimeLimitSeconds' | 'hardTimeLimitSeconds'>,
  { clock, limitLease, onHardLimit, noteRunning }: TimeLimitDeps,
): () => void {
  const soft = execution.message.softTimeLimitSeconds ?? options.softTimeLimitSeconds
  const hard = execution.message.hardTimeLimitSeconds ?? options.hardTimeLimitSeconds
  const ended = noteRunning?.(execution, hard) ?? nothing
  if (soft === undefined && hard === undefined) return ended
  const timers: Timer[] = []
  if (soft !== undefined) {
    const abort = (): void => {
      execution.log.warn({ event: 'soft-time-limit', limitSeconds: soft }, 'the soft time limit is over')
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
    ended()
    for (const timer of timers) timer.cancel()
  }
}

const nothing = (): void => undefined
