// Work that consists of several tasks, as an application writes it: chain, group, chord, links. Celery's canvas, in Celery's form, so
// that Python workers follow it like their own. Nothing changes in place: each method returns a new one.
import { UsageError } from '../errors.ts'
import { formatInstant, startTime, type InstantLike } from '../protocol/instant.ts'
import { uuid4 } from '../protocol/uuid.ts'
import type { AsyncResult, GetOptions } from '../results/async-result.ts'
import { dispatch, type Plan } from './dispatch.ts'
import { freeze, type ResultShape } from './freeze.ts'
import { readSignatures, withOptions, type Signature } from './signature.ts'

/** How one task of a canvas departs from its own options. */
export interface SignatureOptions {
  readonly queue?: string
  /** 0 (most urgent on Redis) to 9. */
  readonly priority?: number
  /** Seconds from when it is sent. Never together with `eta`. */
  readonly countdown?: number
  /** An instant with an offset. Never together with `countdown`. */
  readonly eta?: InstantLike
  /** Seconds from when it is sent. */
  readonly expires?: number
  readonly ignoreResult?: boolean
  readonly softTimeLimitSeconds?: number
  readonly hardTimeLimitSeconds?: number
}

/** What a canvas needs of its app. */
export interface CanvasSender {
  /** Sends a plan as one. @throws BrokerError, UsageError */
  sendPlan(plan: Plan): Promise<void>
  result(id: string): AsyncResult<unknown>
}

/** What a canvas will have returned: one value, or a list of them for a group. */
export class CanvasResult<Result> {
  /** The ids behind it; nested as groups are. */
  readonly ids: ResultShape
  readonly #sender: CanvasSender

  constructor(ids: ResultShape, sender: CanvasSender) {
    this.ids = ids
    this.#sender = sender
  }

  /** Waits for the end of all. @throws ResultError of the first that failed; BrokerError */
  async get(options: GetOptions = {}): Promise<Result> {
    const read = async (shape: ResultShape): Promise<unknown> =>
      typeof shape === 'string' ? this.#sender.result(shape).get(options) : Promise.all(shape.map(read))
    return (await read(this.ids)) as Result
  }
}

export class Canvas<Result = unknown> {
  /** As it goes into messages. */
  readonly signature: Signature
  readonly #sender: CanvasSender

  constructor(signature: Signature, sender: CanvasSender) {
    this.signature = signature
    this.#sender = sender
  }

  /** With other options. @throws UsageError `EtaAndCountdown` and the like */
  set(options: SignatureOptions): Canvas<Result> {
    const { countdown, eta, ignoreResult, softTimeLimitSeconds, hardTimeLimitSeconds, ...same } = options
    if (eta !== undefined || countdown !== undefined) startTime(options, Date.now())
    return this.#with({
      ...same,
      countdown,
      eta: eta === undefined ? undefined : formatInstant(startTime({ eta }, Date.now()) ?? 0),
      ignore_result: ignoreResult,
      soft_time_limit: softTimeLimitSeconds,
      time_limit: hardTimeLimitSeconds,
    })
  }

  /** Taking nothing from what comes before it: Celery's immutable. */
  alone(): Canvas<Result> {
    return new Canvas<Result>({ ...this.signature, immutable: true }, this.#sender)
  }

  /** What follows when it has succeeded; it is given what was returned, before its own arguments. */
  link(...callbacks: readonly Canvas[]): Canvas<Result> {
    if (this.signature.subtask_type === 'group')
      throw new UsageError('OptionInvalid', 'nothing can be linked to a group, which has no single end: use a chord')
    return this.#with({
      link: [...readSignatures(this.signature.options['link']), ...callbacks.map((c) => c.signature)],
    })
  }

  /** What follows when it has failed for good; it is given the id of the task that failed, before its own arguments. */
  linkError(...errbacks: readonly Canvas[]): Canvas<Result> {
    const before = readSignatures(this.signature.options['link_error'])
    return this.#with({ link_error: [...before, ...errbacks.map((errback) => errback.signature)] })
  }

  /** Sends it; `args` go before its own. */
  async delay(...args: readonly unknown[]): Promise<CanvasResult<Result>> {
    const { signature, result } = freeze(this.signature, uuid4)
    await this.#sender.sendPlan(dispatch(signature, args, uuid4))
    return new CanvasResult<Result>(result, this.#sender)
  }

  #with(options: Readonly<Record<string, unknown>>): Canvas<Result> {
    return new Canvas<Result>(withOptions(this.signature, options), this.#sender)
  }
}

/** One after the other; each is given what the one before it returned, before its own arguments. */
export function chainOf(members: readonly Canvas[], sender: CanvasSender): Canvas {
  return compound('chain', { tasks: members.map(({ signature }) => signature) }, sender)
}

/** All at once. */
export function groupOf(members: readonly Canvas[], sender: CanvasSender): Canvas<unknown[]> {
  return compound('group', { tasks: members.map(({ signature }) => signature) }, sender) as Canvas<unknown[]>
}

/** All of the header at once, and then the body, which is given the list of what they returned. */
export function chordOf(header: readonly Canvas[], body: Canvas, sender: CanvasSender): Canvas {
  const kwargs = { kwargs: {}, header: header.map(({ signature }) => signature), body: body.signature }
  return compound('chord', kwargs, sender)
}

function compound(type: 'chain' | 'group' | 'chord', kwargs: Signature['kwargs'], sender: CanvasSender): Canvas {
  const signature = { task: `celery.${type}`, args: [], kwargs, options: {}, subtask_type: type, immutable: false }
  return new Canvas(signature, sender)
}
