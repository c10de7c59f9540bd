// The ping that `celery inspect ping -d celery@<host>` sends, so that a probe costs a few Redis commands instead of a Python
// process. A broker that can't be reached proves nothing about the worker, and neither does the silence of one that can't answer.

import { PREFORK, SOLO } from './celerypool.ts'
import type { Pidbox } from './pidbox.ts'
import type { PoolWatch } from './poolwatch.ts'

export type PingAnswer =
  /** `note`: what is odd and costs nothing. */
  | { state: 'pong'; note?: string }
  /** It answers, and its pool does nothing any more. */
  | { state: 'stuck'; why: string }
  /** The broker took the question and the worker did not answer in time. */
  | { state: 'silent'; why?: string }
  /** It has not told the broker that it can be asked. */
  | { state: 'starting'; why: string }
  /** It can't answer, which is no sign of anything. */
  | { state: 'mute'; why: string }
  /** The question could not be asked. */
  | { state: 'unknown'; why: string }

/** In seconds. */
export interface PingLimits {
  /** A worker that has told the broker of no pidbox for so long has none, and isn't one that starts. */
  readonly startSeconds: number
  /** How long an answer serves other probes too. */
  readonly reuseSeconds: number
  /** The longest that a task may take; 0 for no limit. */
  readonly maxTaskSeconds: number
}

/** Probes that are further apart than this are of two containers: what restarts again and again has not started. */
const PROBES_APART_MS = 25_000

const STARTING = 'it has told the broker of no pidbox yet: it starts, or can not reach the broker'
const MUTE = 'its remote control is switched off, or under a key prefix: it can not be asked'

export class CeleryPing {
  readonly #pidbox: Pick<Pidbox, 'ask' | 'bound'>
  readonly #pool: Pick<PoolWatch, 'implementation' | 'verdict' | 'refresh' | 'silenced'>
  readonly #limits: PingLimits
  readonly #now: () => number
  #last: { answer: PingAnswer; at: number } | undefined
  #running: Promise<PingAnswer> | undefined
  /** It has answered once, so its remote control is on. */
  #answered = false
  /** Of the silence that goes on. */
  #silentSince: number | undefined
  #unbound: { readonly since: number; readonly last: number } | undefined

  /** @param now monotonic milliseconds */
  constructor(
    pidbox: Pick<Pidbox, 'ask' | 'bound'>,
    pool: Pick<PoolWatch, 'implementation' | 'verdict' | 'refresh' | 'silenced'>,
    limits: PingLimits,
    now: () => number = () => performance.now(),
  ) {
    this.#pidbox = pidbox
    this.#pool = pool
    this.#limits = limits
    this.#now = now
  }

  /** Asks the worker, or joins a question that is under way. */
  async ask(): Promise<PingAnswer> {
    if (this.#last && this.#now() - this.#last.at < this.#limits.reuseSeconds * 1000) return this.#last.answer
    this.#running ??= this.#askNow().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #askNow(): Promise<PingAnswer> {
    let answer: PingAnswer
    try {
      answer = await this.#judge()
    } catch (error) {
      answer = { state: 'unknown', why: error instanceof Error ? error.message : String(error) }
    }
    this.#last = { answer, at: this.#now() }
    return answer
  }

  async #judge(): Promise<PingAnswer> {
    // Nobody is there to be asked: a question would be waited for in vain, at every probe.
    if (!this.#answered && !(await this.#pidbox.bound())) return this.#withoutPidbox()
    this.#unbound = undefined
    if ((await this.#pidbox.ask('ping')) === undefined) {
      this.#pool.silenced()
      return this.#silence()
    }
    this.#answered = true
    this.#silentSince = undefined
    this.#pool.refresh()
    return this.#ofPool()
  }

  /** A prefork pool's main process always answers. Others, and one that has not said what it is, may be in a task that lets nobody in. */
  #silence(): PingAnswer {
    const now = this.#now()
    this.#silentSince ??= now
    const { implementation } = this.#pool
    if (implementation === SOLO) return { state: 'mute', why: 'its pool is solo: it is silent while it runs a task' }
    const { maxTaskSeconds } = this.#limits
    const mayBeTask = maxTaskSeconds === 0 || now - this.#silentSince <= maxTaskSeconds * 1000
    return implementation !== PREFORK && mayBeTask
      ? { state: 'mute', why: 'it is silent, as it may be while a task of a pool that is not prefork lets nobody in' }
      : { state: 'silent' }
  }

  #withoutPidbox(): PingAnswer {
    const now = this.#now()
    const before = this.#unbound
    const since = before && now - before.last < PROBES_APART_MS ? before.since : now
    this.#unbound = { since, last: now }
    return now - since < this.#limits.startSeconds * 1000
      ? { state: 'starting', why: STARTING }
      : { state: 'mute', why: MUTE }
  }

  #ofPool(): PingAnswer {
    const verdict = this.#pool.verdict
    if (verdict?.dead !== undefined) return { state: 'stuck', why: verdict.dead }
    const oldest = verdict?.stuck[0]
    if (!verdict || !oldest) return { state: 'pong' }
    const note = `${verdict.stuck.length} tasks are beyond maxTaskSeconds, such as ${oldest.task} (${oldest.id}) for ${oldest.seconds} s`
    return { state: 'pong', note }
  }
}
