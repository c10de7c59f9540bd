// One call of a task: how it departs from the task's options, and the checks of that. Not sending it (app.ts).
import { UsageError } from './errors.ts'
import { UNIQUE_HEADER } from './protocol/task-message.ts'
import { startTime, type InstantLike } from './protocol/instant.ts'

/** How one call departs from the task's options. */
export interface SendOptions {
  /** Keyword arguments, for tasks written in Python. */
  readonly kwargs?: Readonly<Record<string, unknown>>
  readonly queue?: string
  /** 0 (most urgent on Redis) to 9. */
  readonly priority?: number
  /** Seconds from now. Never together with `eta`. */
  readonly countdown?: number
  /** An instant with an offset. Never together with `countdown`. */
  readonly eta?: InstantLike
  /** Not to be run after this: seconds from now, or an instant with an offset. */
  readonly expires?: number | InstantLike
  readonly id?: string
  readonly ignoreResult?: boolean
  /** Headers of your own; the names of the protocol's are refused. */
  readonly headers?: Readonly<Record<string, unknown>>
}

/** When a call expires, in milliseconds since the epoch. @throws UsageError */
export function expiry(expires: number | InstantLike | undefined, now: number): number | undefined {
  if (expires === undefined) return undefined
  const options = typeof expires === 'number' ? { countdown: expires } : { eta: expires }
  try {
    return startTime(options, now)
  } catch (error) {
    if (error instanceof UsageError) throw new UsageError(error.code, `expires: ${error.message}`)
    throw error
  }
}

const PROTOCOL_HEADERS = new Set([
  'lang',
  'task',
  'id',
  'eta',
  'expires',
  'retries',
  'root_id',
  'parent_id',
  'group',
  'timelimit',
  'ignore_result',
  'compression',
  UNIQUE_HEADER,
])

/** @throws UsageError `OptionInvalid` for headers that are the protocol's */
export function ownHeaders(headers: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const taken = Object.keys(headers).find((name) => PROTOCOL_HEADERS.has(name))
  if (taken !== undefined) {
    throw new UsageError(
      'OptionInvalid',
      `the header ${taken} belongs to the protocol: use the option of that name, or another header`,
    )
  }
  return { ...headers }
}
