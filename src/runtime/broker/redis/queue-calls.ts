// The calls of the scripts that work on whole queues. Pure: which keys in which order, as the scripts' headers say.
import { PRIORITY_STEPS } from '../../protocol/queue-key.ts'
import type { Keys } from './keys.ts'
import type { ScriptCall } from './scripts.ts'
import type { DeadBounds } from './settle-call.ts'

/** Bytes after which a take stops: more in one reply holds Redis and this process up. */
const MAX_TAKE_BYTES = 4 * 1024 * 1024
/** Messages of a queue that one call recovers or promotes: a bound on the time the server spends on it. */
export const SWEEP_BATCH = 200

/** The keys that take, recover, promote and join begin with. */
export const leadingKeys = (keys: Keys): string[] => [keys.unacked, keys.unackedIndex]

/** The keys of one queue that follow: its four lists and one more. */
export function keysOfQueue(keys: Keys, queue: string, last: string): string[] {
  return [...PRIORITY_STEPS.map((step) => keys.list(queue, step)), last]
}

function queueKeys(keys: Keys, queues: readonly string[], last: (queue: string) => string): string[] {
  return [...leadingKeys(keys), ...queues.flatMap((queue) => keysOfQueue(keys, queue, last(queue)))]
}

/** A name as JSON. */
export const quoted = (queue: string): string => JSON.stringify(queue)

/** The queues of one take. */
export interface ServedQueues {
  /** In the order in which they are served. */
  readonly queues: readonly string[]
  readonly keys: readonly string[]
  /** As JSON. */
  readonly names: readonly string[]
}

/** What a take asks for. */
export interface TakeRequest {
  /** The process part of the tags, and the number of the first. */
  readonly process: string
  readonly firstNumber: number
  readonly want: number
  readonly leaseSeconds: number
}

export function takeCall({ keys, names }: ServedQueues, request: TakeRequest): ScriptCall {
  const { want, process, firstNumber, leaseSeconds } = request
  return { name: 'take', keys, args: [want, process, firstNumber, leaseSeconds, MAX_TAKE_BYTES, ...names] }
}

export function recoverCall(keys: Keys, queues: readonly string[]): ScriptCall {
  return {
    name: 'recover',
    keys: queueKeys(keys, queues, (queue) => keys.leases(queue)),
    args: [SWEEP_BATCH, ...queues.map(quoted)],
  }
}

export function promoteCall(keys: Keys, queues: readonly string[]): ScriptCall {
  return {
    name: 'promote',
    keys: queueKeys(keys, queues, (queue) => keys.parked(queue)),
    args: [SWEEP_BATCH, ...queues.flatMap((queue) => [quoted(queue), keys.wake(queue)])],
  }
}

/** Keeps the dead letters within their bounds. */
export function trimDeadCall(keys: Keys, { most, seconds }: DeadBounds): ScriptCall {
  return {
    name: 'trim-dead-letters',
    keys: [keys.deadLetters, keys.deadMessages, keys.deadIndex, keys.deadCounts],
    args: [most, seconds],
  }
}

/** @param held the tags that are in this process's hands */
export function joinCall(keys: Keys, queues: readonly string[], process: string, held: Iterable<string>): ScriptCall {
  return {
    name: 'join',
    keys: [...queueKeys(keys, queues, (queue) => keys.leases(queue)), keys.queues],
    args: [queues.length, process, ...queues, ...queues.map(quoted), ...held],
  }
}
