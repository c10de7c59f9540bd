// Judges whether the pool of a Celery worker still does something: the ping proves the main process only. Pure: what the worker says and
// the time come in, nothing is asked here.

/** The pool that runs a task in the control loop itself, so that the worker is silent meanwhile. */
export const SOLO = 'celery.concurrency.solo:TaskPool'
/** The one whose tasks run in processes of their own, so that the main process always answers. */
export const PREFORK = 'celery.concurrency.prefork:TaskPool'

/** A pool, as `stats` tells of it. */
export interface Pool {
  readonly implementation: string
  /** Tasks that may run at once. */
  readonly slots: number
  /** The most messages that it holds unacknowledged; undefined without a bound. */
  readonly prefetch: number | undefined
}

/** A task in an answer to `active` or `reserved`. */
export interface PoolTask {
  readonly id: string
  readonly task: string
}

/**
 * What a pool has in hand. `reserved` are tasks that wait for a slot: one that waits for its rate limit or its eta is not among them.
 */
export interface PoolLook {
  readonly pool: Pool
  readonly active: readonly PoolTask[]
  readonly reserved: readonly PoolTask[]
}

/** In seconds; 0 is no limit. */
export interface PoolLimits {
  /** The longest that a task may take. */
  readonly maxTaskSeconds: number
  /** How long tasks may wait beside free slots. */
  readonly stalledSeconds: number
}

/** A task beyond its time. `seconds`: how long it has been seen to run. */
export interface StuckTask extends PoolTask {
  readonly seconds: number
}

export interface PoolVerdict {
  /** Why nothing of the pool goes on any more; undefined while something may. */
  readonly dead: string | undefined
  /** All tasks beyond their time, the oldest first. */
  readonly stuck: readonly StuckTask[]
  /** Something is odd, so what `stats` said should be asked anew. */
  readonly suspicious: boolean
}

/**
 * The most that one look adds to an age, in milliseconds: time in which nobody looked, such as that of a machine that was suspended, is no
 * task's fault.
 */
const MOST_A_LOOK_MS = 60_000

/** Remembers what it saw, by its own count of time: no step of a clock makes a task old. */
export class PoolJudge {
  readonly #limits: PoolLimits
  /** Milliseconds for which a task has been seen to run. */
  #ages = new Map<string, number>()
  #reserved = new Set<string>()
  #waitedMs = 0
  #lastAt: number | undefined

  constructor(limits: PoolLimits) {
    this.#limits = limits
  }

  /** @param now monotonic milliseconds */
  judge({ pool, active, reserved: waiting }: PoolLook, now: number): PoolVerdict {
    const passed = this.#lastAt === undefined ? 0 : Math.min(MOST_A_LOOK_MS, now - this.#lastAt)
    this.#lastAt = now
    const before = this.#ages
    this.#ages = new Map(active.map(({ id }) => [id, before.has(id) ? (before.get(id) ?? 0) + passed : 0]))
    // A task that began between the two questions is in both answers.
    const reserved = new Set(waiting.map(({ id }) => id).filter((id) => !this.#ages.has(id)))
    const stuck = this.#beyondTheirTime(active)
    const withinTime = active.length - stuck.length
    // While a task runs within its time it may be what the others wait for, and killing would cost it its work.
    const waits = reserved.size > 0 && withinTime === 0 && active.length < pool.slots
    const moved = [...before.keys()].some((id) => !this.#ages.has(id)) || !isSubset(this.#reserved, reserved)
    const began = [...this.#ages.keys()].some((id) => !before.has(id))
    this.#waitedMs = waits && this.#reserved.size > 0 && !moved && !began ? this.#waitedMs + passed : 0
    this.#reserved = reserved
    return {
      dead: this.#deadOf(active.length, stuck, pool),
      stuck,
      suspicious: stuck.length > 0 || waits,
    }
  }

  #beyondTheirTime(active: readonly PoolTask[]): StuckTask[] {
    const { maxTaskSeconds } = this.#limits
    if (maxTaskSeconds === 0) return []
    return active
      .map(({ id, task }) => ({ id, task, seconds: Math.round((this.#ages.get(id) ?? 0) / 1000) }))
      .filter(({ id }) => (this.#ages.get(id) ?? 0) > maxTaskSeconds * 1000)
      .toSorted((a, b) => b.seconds - a.seconds)
  }

  #deadOf(active: number, stuck: readonly StuckTask[], { slots }: Pool): string | undefined {
    const { maxTaskSeconds, stalledSeconds } = this.#limits
    const oldest = stuck[0]
    if (oldest && stuck.length === active && active >= slots)
      return `all ${slots} slots are held by tasks that run for more than ${maxTaskSeconds} s, such as ${oldest.task} (${oldest.id}) for ${oldest.seconds} s`
    if (stalledSeconds > 0 && this.#waitedMs > stalledSeconds * 1000)
      return `${this.#reserved.size} tasks wait beside ${slots - active} free slots for ${Math.round(this.#waitedMs / 1000)} s, and none begins`
    return undefined
  }
}

function isSubset(part: ReadonlySet<string>, whole: ReadonlySet<string>): boolean {
  return [...part].every((id) => whole.has(id))
}

/** The pool in an answer to `stats`; undefined when it tells of none. */
export function poolIn(answer: unknown): Pool | undefined {
  const { pool, prefetch_count: prefetch } = record(answer)
  const { implementation, 'max-concurrency': slots, processes } = record(pool)
  if (typeof implementation !== 'string') return undefined
  // A pool that has grown tells of its processes, and of the number that it began with.
  const many = Math.max(typeof slots === 'number' ? slots : 1, Array.isArray(processes) ? processes.length : 0)
  return { implementation, slots: many, prefetch: typeof prefetch === 'number' && prefetch > 0 ? prefetch : undefined }
}

/** The tasks in an answer to `active` or `reserved`; undefined when it is none. */
export function tasksIn(answer: unknown): PoolTask[] | undefined {
  if (!Array.isArray(answer)) return undefined
  return answer.flatMap((entry: unknown) => {
    const { id, name, type } = record(entry)
    const task = [name, type].find((text): text is string => typeof text === 'string') ?? 'a task without a name'
    return typeof id === 'string' ? [{ id, task }] : []
  })
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}
