// Renews the leases that the shared slots hold, and writes down when it did. Run by the lease thread, and by the main thread while
// that one has no connection. Knows nothing of tasks.
import type { Redis } from 'ioredis'
import { sharedNow } from '../../clock.ts'
import { readSlots } from './lease-slots.ts'
import { loadScripts, runScript } from './scripts.ts'

/** What it works on. Plain data and shared memory, so that it can go to another thread. */
export interface LeaseRenewalData {
  readonly process: string
  /** The slots of lease-slots.ts. */
  readonly memory: SharedArrayBuffer
  /** When all leases were last renewed, by the thread and by the main one, in milliseconds of the clock that both share. */
  readonly renewedAt: SharedArrayBuffer
  readonly unacked: string
  readonly unackedIndex: string
  readonly leases: readonly string[]
  readonly leaseSeconds: number
}

/** Tags renewed in one call: bounds the time the server spends on it. */
const RENEW_BATCH = 500

/** Who renews; also the place in {@link LeaseRenewalData.renewedAt}. */
export const BY = { thread: 0, main: 1 } as const
/** Where the main thread notes that its event loop turns. */
const ALIVE = 2
type By = (typeof BY)[keyof typeof BY]

/** Bytes of {@link LeaseRenewalData.renewedAt}. */
export const RENEWED_AT_BYTES = 3 * Float64Array.BYTES_PER_ELEMENT

/**
 * Renews all.
 * @returns the tags whose record is gone: someone else has the message now
 */
export async function renewLeases(data: LeaseRenewalData, redis: Redis, by: By): Promise<string[]> {
  const began = sharedNow()
  const held = readSlots(data.memory, data.process).filter(({ until }) => until > began)
  const lost: string[] = []
  for (let at = 0; at < held.length; at += RENEW_BATCH) {
    const batch = held.slice(at, at + RENEW_BATCH)
    const gone = await runScript(redis, {
      name: 'renew',
      keys: [data.unacked, data.unackedIndex, ...data.leases],
      args: [data.leaseSeconds, ...batch.flatMap(({ queue, tag }) => [queue + 3, tag])],
    })
    if (Array.isArray(gone)) lost.push(...(gone as string[]))
  }
  new Float64Array(data.renewedAt)[by] = began
  return lost
}

/** Brings the script to a server. */
export async function loadRenewal(redis: Redis): Promise<void> {
  await loadScripts(redis, ['renew'])
}

/** Milliseconds since somebody last renewed the leases. */
export function renewalAgeMs(data: Pick<LeaseRenewalData, 'renewedAt'>, by: By): number {
  return sharedNow() - (new Float64Array(data.renewedAt)[by] ?? 0)
}

/** The main thread's event loop turns. */
export function noteAlive(data: Pick<LeaseRenewalData, 'renewedAt'>): void {
  new Float64Array(data.renewedAt)[ALIVE] = sharedNow()
}

/** How long the main thread may be silent while a task is over its hard limit. Milliseconds. */
const SILENCE_MS = 10_000

/** Whether a task that is over its hard limit holds the event loop: the main thread can't end itself for it then. */
export function isStuck(data: LeaseRenewalData): boolean {
  const silentMs = sharedNow() - (new Float64Array(data.renewedAt)[ALIVE] ?? 0)
  return silentMs > SILENCE_MS && readSlots(data.memory, data.process).some(({ until }) => until <= sharedNow())
}

/** Starts the count: nothing is overdue before there is anything to renew. */
export function startRenewalAge(data: Pick<LeaseRenewalData, 'renewedAt'>): void {
  new Float64Array(data.renewedAt).fill(sharedNow())
}
