// Carries out what follows from the end of a task: turns it into what the broker does together with the outcome. Only chords need to
// be asked for on the way: whether their header is complete, and what its tasks returned.
import type { BrokerClock } from '../broker/broker-clock.ts'
import type { ChordState, Store } from '../broker/store.ts'
import type { ChordEnding, Following, Outcome, Publication, ResultWrite } from '../broker/transport.ts'
import {
  aftermathOf,
  failedBody,
  hasAftermath,
  type Aftermath,
  type ChordPart,
  type TaskEnd,
} from '../canvas/aftermath.ts'
import { dispatch, type Plan } from '../canvas/dispatch.ts'
import { shaped } from '../canvas/group-result.ts'
import { publicationOf, type Lineage } from '../canvas/publication.ts'
import { pause, type Clock } from '../clock.ts'
import { asError, BrokerError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { describeFailure, encodeResult, failureText, withChildren } from '../protocol/result.ts'
import type { TaskMessage } from '../protocol/task-message.ts'
import { traceHeaders } from '../trace-headers.ts'
import type { Tracing } from '../tracing.ts'
import { uuid4 } from '../protocol/uuid.ts'
import { taskFields } from './task-fields.ts'
import { deadTask, type OutcomeContext } from './outcome.ts'
import type { TaskReports } from './task-reports.ts'

export interface FollowUpDeps {
  /** Where results and chords are kept. */
  readonly results: Pick<Store, 'chordPart' | 'readChordParts'>
  readonly resultTtlSeconds: number
  readonly brokerClock: BrokerClock
  readonly clock: Clock
  readonly queueOf: (task: string, queue: string | undefined) => string
  readonly log: Logger
  readonly context: () => OutcomeContext
  readonly reports: TaskReports
  readonly tracing: Tracing | undefined
}

/** Seconds that a claim to send a body lasts: below a lease, so that it has ended when another takes over. */
const CLAIM_SECONDS = 8
/** A claim that is another's is waited for so often, a second each: should that one be gone, it is ours to send the body. */
const CLAIM_TRIES = 30

/** States after which a chord can't have its body run. */
const FAILED = new Set(['FAILURE', 'REVOKED', 'RETRY'])

/** What goes out, and the ids of the tasks that are the children of the one that has ended. */
interface Followed extends Following {
  readonly children: readonly string[]
}

export class FollowUp {
  readonly #deps: FollowUpDeps

  constructor(deps: FollowUpDeps) {
    this.#deps = deps
  }

  /**
   * The outcome of a task that has ended for good, with what follows from it; at once where nothing does. Does not reject: what can't
   * be followed is dead, and while a chord can't be counted the task is given back.
   */
  attach(outcome: Outcome, message: TaskMessage, queue: string, end: TaskEnd): Outcome | Promise<Outcome> {
    if (!hasAftermath(message)) return outcome
    return this.of(message, end).then(
      (following) => ({ ...withFollowers(outcome, following), following }),
      (error: unknown) => this.#instead(outcome, message, queue, error),
    )
  }

  #instead(outcome: Outcome, message: TaskMessage, queue: string, thrown: unknown): Outcome {
    const { log, context, reports } = this.#deps
    const error = asError(thrown)
    const fields = { error, ...taskFields(message, queue) }
    const { token } = outcome
    if (error instanceof BrokerError && token !== null) {
      log.warn({ event: 'follow-up-failed', ...fields }, 'a chord could not be counted: the task is given back')
      return { token, kind: 'giveBack', begun: true }
    }
    const text = 'the task has ended, and what should follow it can not be sent'
    log.error({ event: 'follow-up-failed', ...fields }, `${text}; see "taskqueue dead show ${message.id}"`)
    const letter = deadTask(message, queue, 'CanvasInvalid', error, context())
    reports.dead(letter, error, message)
    const { result, release } = outcome
    return { token, kind: 'dead', letter, result, release, ...(token === null ? { message: '' } : {}) }
  }

  /**
   * What goes out with the outcome of a task.
   * @throws MessageError, UsageError when it can't be understood or written
   * @throws BrokerError when a chord can't be counted
   */
  async of(message: TaskMessage, end: TaskEnd): Promise<Followed> {
    const found = {
      publish: [] as Publication[],
      results: [] as ResultWrite[],
      counts: [] as Following['counts'][number][],
    }
    const chords: ChordEnding[] = []
    const first = aftermathOf(message, end, uuid4)
    this.#add(found, first, message)
    // The failure of a body may be the part of another chord, and so on.
    const parts = [...first.parts]
    for (let part = parts.shift(); part; part = parts.shift()) {
      const ending = await this.#count(part, message)
      if (!ending) continue
      chords.push(ending.chord)
      parts.push(...ending.parts)
    }
    return { ...found, chords, children: first.plans.flatMap((plan) => plan.tasks.map(({ id }) => id)) }
  }

  #add(
    found: { publish: Publication[]; results: ResultWrite[]; counts: Following['counts'][number][] },
    aftermath: Aftermath,
    message: TaskMessage,
  ): void {
    for (const plan of aftermath.plans) this.#addPlan(found, plan, message)
    for (const { taskId, end } of aftermath.results) found.results.push(this.#result(taskId, end))
  }

  #addPlan(
    found: { publish: Publication[]; counts: Following['counts'][number][] },
    plan: Plan,
    message: TaskMessage,
  ): void {
    const { tracing } = this.#deps
    const own = traceHeaders(message.headers)
    const lineage: Lineage = {
      parentId: message.id,
      rootId: message.rootId ?? message.id,
      now: this.#deps.brokerClock.now(),
      queueOf: this.#deps.queueOf,
      traceOf: ({ id, task }, queue) => {
        const span = tracing?.send({ id, task, queue, retries: 0, scheduled: false })
        span?.end()
        return span?.headers ?? own
      },
    }
    for (const task of plan.tasks) found.publish.push(publicationOf(task, lineage))
    for (const count of plan.chordSizes) found.counts.push({ ...count, ttlSeconds: this.#deps.resultTtlSeconds })
  }

  #result(taskId: string, end: TaskEnd): ResultWrite {
    const json = encodeResult({
      taskId,
      status: end.state,
      result: end.value,
      traceback: null,
      doneAt: this.#deps.brokerClock.now(),
    })
    return { taskId, json, ttlSeconds: this.#deps.resultTtlSeconds }
  }

  /** Counts a part; the end of its chord when that is ours to make. */
  async #count(part: ChordPart, message: TaskMessage): Promise<{ chord: ChordEnding; parts: ChordPart[] } | undefined> {
    const claim = uuid4()
    if ((await this.#claim(part, claim)) !== 'claimed') return undefined
    const { parts, shape } = await this.#deps.results.readChordParts(part.groupId)
    const ended = parts.map(readPart)
    const failed = ended.find(({ state }) => FAILED.has(state))
    const chord = { groupId: part.groupId, claim, publish: [], results: [], counts: [] }
    if (!failed) {
      const values = ended.map(({ value }) => value)
      const byId = new Map(ended.map(({ taskId, value }) => [taskId, value]))
      const plan = dispatch(part.body, [shape === undefined ? values : (shaped(shape, byId) ?? values)], uuid4)
      this.#addPlan(chord, plan, message)
      return { chord, parts: [] }
    }
    const text = `Dependency ${failed.taskId} raised ${failureText(failed.value)}`
    const end: TaskEnd = { state: 'FAILURE', value: describeFailure('ChordError', text, 'celery.exceptions') }
    const aftermath = failedBody(part.body, end, uuid4)
    this.#add(chord, aftermath, message)
    return { chord, parts: aftermath.parts }
  }

  async #claim(part: ChordPart, claim: string): Promise<ChordState> {
    const { results, resultTtlSeconds, clock } = this.#deps
    for (let tries = 1; ; tries++) {
      const state = await results.chordPart({
        groupId: part.groupId,
        taskId: part.taskId,
        index: part.index,
        json: JSON.stringify([1, part.taskId, part.state, part.value ?? null]),
        ttlSeconds: resultTtlSeconds,
        claim,
        claimSeconds: CLAIM_SECONDS,
      })
      if (state !== 'elsewhere' || tries >= CLAIM_TRIES) return state
      await pause(clock, 1000)
    }
  }
}

/** The result tells which tasks came of it. A chord's body has several parents, and is none's child. */
function withFollowers(outcome: Outcome, { children }: Followed): Outcome {
  if (!outcome.result || children.length === 0) return outcome
  return { ...outcome, result: { ...outcome.result, json: withChildren(outcome.result.json, children) } }
}

/** A part as Celery writes it: `[1, task id, state, value]`. */
function readPart(json: string): { taskId: string; state: string; value: unknown } {
  const [, taskId, state, value] = JSON.parse(json) as [unknown, string, string, unknown]
  return { taskId, state, value }
}
