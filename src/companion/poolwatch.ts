// Asks the Celery worker of this pod now and then what its pool has in hand, and has it judged. Asks in the background, so that no probe
// waits for it. What the answers mean is in celerypool.ts.

import type { Pidbox } from './pidbox.ts'
import { PoolJudge, SOLO, poolIn, tasksIn, type Pool, type PoolLimits, type PoolVerdict } from './celerypool.ts'

/** While a limit is short so are the looks: one that is reached is noticed within a quarter of it. */
const OFTEN_MS = 500
const SELDOM_MS = 20_000
/** After a question that was not answered. */
const RETRY_MS = 10_000
/** A worker whose pool is not known may be busy with what holds its control loop: it answers between two tasks. */
const PATIENCE_MS = 60_000
/** A verdict older than this says nothing about now. */
const STALE_MS = 90_000
/** More tasks than this are not asked for: their description would not fit into the companion's memory. */
const MOST_TASKS = 1000
/** So many are told in the presence hash. */
const MOST_TOLD = 10

export class PoolWatch {
  readonly #pidbox: Pidbox
  readonly #judge: PoolJudge
  readonly #everyMs: number
  #pool: Pool | undefined
  /** Whether `pool` was said since the worker was last silent. */
  #fresh = false
  #verdict: { readonly is: PoolVerdict; readonly at: number } | undefined
  #askAt = -Infinity
  #asking = false
  #implementation: string | undefined

  constructor(pidbox: Pidbox, limits: PoolLimits) {
    this.#pidbox = pidbox
    this.#judge = new PoolJudge(limits)
    const shortest = Math.min(...[limits.maxTaskSeconds, limits.stalledSeconds].filter((seconds) => seconds > 0))
    this.#everyMs = Math.min(SELDOM_MS, Math.max(OFTEN_MS, shortest * 250))
  }

  /** The class of the pool; undefined while it is not known. */
  get implementation(): string | undefined {
    return this.#implementation
  }

  get verdict(): PoolVerdict | undefined {
    return this.#verdict && performance.now() - this.#verdict.at < STALE_MS ? this.#verdict.is : undefined
  }

  /** What the presence hash is told. */
  get detail(): Readonly<Record<string, unknown>> {
    const stuck = this.verdict?.stuck ?? []
    return {
      ...(this.#implementation === undefined ? {} : { pool: this.#implementation }),
      ...(stuck.length > 0 ? { stuck: stuck.slice(0, MOST_TOLD) } : {}),
    }
  }

  /** After a restart: what the companion before this one knew of the pool. A worker in a solo task can't be asked. */
  restore(detail: Readonly<Record<string, unknown>> | undefined): void {
    const pool = detail?.['pool']
    if (typeof pool === 'string') this.#implementation ??= pool
  }

  /** The worker did not answer: it may come back as another. */
  silenced(): void {
    this.#fresh = false
    if (this.#implementation === undefined) this.#begin(() => this.#askPool(PATIENCE_MS))
  }

  /** Looks in the background when it is time to. */
  refresh(): void {
    if (performance.now() >= this.#askAt) this.#begin(() => this.#look())
  }

  #begin(ask: () => Promise<unknown>): void {
    if (this.#asking) return
    this.#asking = true
    this.#askAt = performance.now() + RETRY_MS
    ask()
      .catch(() => undefined)
      .finally(() => {
        this.#asking = false
      })
  }

  async #askPool(withinMs?: number): Promise<Pool | undefined> {
    const pool = poolIn(await this.#pidbox.ask('stats', {}, withinMs))
    if (!pool) return undefined
    this.#pool = pool
    this.#implementation = pool.implementation
    this.#fresh = true
    return pool
  }

  async #look(): Promise<void> {
    const pool = this.#fresh && this.#pool ? this.#pool : await this.#askPool()
    if (!pool) return
    // A solo pool answers between two tasks only, when it has none.
    if (pool.implementation === SOLO || pool.slots > MOST_TASKS) {
      this.#askAt = performance.now() + SELDOM_MS
      return
    }
    // In this order: a task that begins in between is in both answers rather than in none.
    const reserved = (pool.prefetch ?? Infinity) > MOST_TASKS ? [] : tasksIn(await this.#pidbox.ask('reserved'))
    const active = tasksIn(await this.#pidbox.ask('active', { safe: true }))
    if (!active || !reserved) return
    const now = performance.now()
    const verdict = this.#judge.judge({ pool, active, reserved }, now)
    // The pool may have grown meanwhile: what goes on to be odd is judged by a fresh word on it.
    if (verdict.suspicious) this.#fresh = false
    this.#verdict = { is: verdict, at: now }
    this.#askAt = now + this.#everyMs
  }
}
