// Which pod is replaced because its worker takes nothing beside what waits: one at a time, and later and later where it doesn't help.
// Pure. Nothing is replaced for what is not known.

import type { StalledQueue } from '@taskqueue/runtime/patrol'
import type { LiveDeployment, LivePod } from './objects.ts'
import { isReady } from './podtrouble.ts'

/** What is there of a pool. */
export interface StallPool {
  readonly name: string
  readonly queues: readonly string[]
  /** Its own Deployment, if there is one. */
  readonly deployment: LiveDeployment | undefined
  /** Those that its ReplicaSet counts. */
  readonly pods: readonly LivePod[]
  /** Pods are being replaced, or drain to go. */
  readonly moving: boolean
}

/** The last replacement in a pool. */
export interface Replaced {
  /** On the monotonic clock. */
  readonly at: number
  /** How many in a row that was. */
  readonly times: number
  /** UIDs of the pods that stayed: any other is the successor. */
  readonly stayed?: ReadonlySet<string>
  /** The API server refused it, and nothing has changed. */
  readonly refused?: true
}

export interface StallInput {
  /** What patrol has seen last, by the monotonic clock, and of what it could not ask: `<subject>` of each finding Unknown. */
  readonly stalled: readonly StalledQueue[]
  readonly unknown: ReadonlySet<string>
  readonly pools: readonly StallPool[]
  /** By the name of the pool. */
  readonly history: ReadonlyMap<string, Replaced>
  readonly stalledSeconds: number
  readonly now: number
}

export type StallStep =
  | { readonly do: 'nothing' }
  | {
      readonly do: 'replace'
      readonly pod: LivePod
      readonly pool: StallPool
      readonly queue: string
      readonly worker: string
      readonly times: number
    }

/** Between two replacements in a pool at most. Seconds. */
const MOST_BACKOFF_SECONDS = 3600
/** A pool that went without for so long has got well: the next one is a first one. Seconds. */
const FORGET_SECONDS = 2 * MOST_BACKOFF_SECONDS

export function nextReplacement(input: StallInput): StallStep {
  const { stalled, unknown, pools, history } = input
  if (unknown.has('broker') || unknown.has('workers')) return { do: 'nothing' }
  // The successor of the last one is awaited, in whatever pool it was.
  const settled = pools.every((pool) => isSettled(pool, history.get(pool.name)))
  if (!settled) return { do: 'nothing' }
  for (const queue of stalled) {
    if (unknown.has(`queue ${queue.queue}`)) continue
    for (const pool of pools) {
      if (!mayReplace(pool, queue, input)) continue
      const chosen = choose(pool, queue)
      if (chosen) return { do: 'replace', pool, queue: queue.queue, times: timesOf(pool, input) + 1, ...chosen }
    }
  }
  return { do: 'nothing' }
}

function mayReplace(pool: StallPool, { queue, since }: StalledQueue, input: StallInput): boolean {
  const { history, stalledSeconds, now } = input
  if (!pool.queues.includes(queue) || !isWhole(pool)) return false
  const last = history.get(pool.name)
  if (!last) return true
  // What stood still already then says nothing of the successor.
  if (since <= last.at && !last.refused) return false
  const times = timesOf(pool, input)
  return times === 0 || now - last.at >= Math.min(MOST_BACKOFF_SECONDS, stalledSeconds * 2 ** times) * 1000
}

function timesOf(pool: StallPool, { history, now }: StallInput): number {
  const last = history.get(pool.name)
  return last && now - last.at < FORGET_SECONDS * 1000 ? last.times : 0
}

/** As many pods as there should be, none on its way. */
function isWhole({ deployment, pods, moving }: StallPool): boolean {
  if (!deployment || moving) return false
  const { metadata, spec, status } = deployment
  if ((status?.observedGeneration ?? 0) < (metadata.generation ?? 0)) return false
  const wanted = spec.replicas ?? 1
  return status?.replicas === wanted && pods.length === wanted
}

function isSettled(pool: StallPool, last: Replaced | undefined): boolean {
  if (!last || last.refused) return true
  return isWhole(pool) && pool.pods.every((pod) => last.stayed?.has(pod.metadata.uid ?? '') === true || isReady(pod))
}

/** The pod with the least to lose: nothing running before little, then the oldest. All workers of the queue stood still. */
function choose({ pods }: StallPool, { workers }: StalledQueue): { pod: LivePod; worker: string } | undefined {
  const known = new Map(pods.map((pod) => [pod.metadata.name, pod]))
  const candidates = workers.flatMap(({ name, busy, slots }) => {
    const pod = known.get(name.slice(name.lastIndexOf('@') + 1))
    // Every slot of it is at work: that is long work.
    if (!pod || busy === undefined || (slots !== undefined && busy >= slots)) return []
    return [{ pod, worker: name, busy }]
  })
  const [first] = candidates.toSorted(
    (a, b) =>
      a.busy - b.busy || createdAt(a.pod) - createdAt(b.pod) || a.pod.metadata.name.localeCompare(b.pod.metadata.name),
  )
  return first && { pod: first.pod, worker: first.worker }
}

function createdAt({ metadata }: LivePod): number {
  return Date.parse(metadata.creationTimestamp ?? '') || 0
}
