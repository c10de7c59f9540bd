// Turns outcomes into the arguments of settle.lua. Pure: which keys, which actions, in which order.
import { priorityStep } from '../../protocol/queue-key.ts'
import type { ChordEnding, Following, Outcome, Parking, Publication, ResultWrite } from '../transport.ts'
import type { Keys } from './keys.ts'
import type { ScriptCall } from './scripts.ts'
import { stepOfTag } from './tag.ts'

/** An outcome, with the queue its delivery came from. */
export interface PendingOutcome {
  readonly outcome: Outcome
  readonly queue: string
  /** Names an outcome that no tag fences, so that sending it again after a lost reply does nothing. */
  readonly once?: string
  /** It was sent before, and no reply came: that its tag is gone says nothing then. */
  readonly repeated?: boolean
}

/** Seconds for which a repeated outcome is known: far longer than one is sent again for. */
const ONCE_SECONDS = 3600
/** Seconds for which late repetitions of a header's task find that the body was sent: Celery's. */
const CHORD_DONE_SECONDS = 300

/** How many dead letters are kept, and for how long. */
export interface DeadBounds {
  readonly most: number
  readonly seconds: number
}

/** Makes the tag of a message that is parked. */
export type ParkTag = (priority: number) => string

type ByQueue = ReadonlyMap<string, readonly PendingOutcome[]>

/** A batch as settle.lua takes it, which does most of them by the handful: outcomes of one kind and one queue. */
export interface SettleBatch {
  /** Nothing happens but that the message is gone. */
  readonly done: ByQueue
  /** The message is gone, and its result is stored. */
  readonly results: ByQueue
  readonly others: readonly PendingOutcome[]
}

export function settleBatch(outcomes: readonly PendingOutcome[]): SettleBatch {
  const done = new Map<string, PendingOutcome[]>()
  const results = new Map<string, PendingOutcome[]>()
  const others: PendingOutcome[] = []
  for (const pending of outcomes) {
    if (!isPlain(pending.outcome)) {
      others.push(pending)
      continue
    }
    const handfuls = pending.outcome.result ? results : done
    const list = handfuls.get(pending.queue)
    if (list) list.push(pending)
    else handfuls.set(pending.queue, [pending])
  }
  return { done, results, others }
}

/** Its outcomes in the order of settle.lua's answers. */
export function answerOrder({ done, results, others }: SettleBatch): PendingOutcome[] {
  return [...[...done.values()].flat(), ...[...results.values()].flat(), ...others]
}

/** Nothing happens but that its message is gone and, it may be, a result is stored. */
function isPlain(outcome: Outcome): boolean {
  if (outcome.kind !== 'complete' || outcome.token === null) return false
  const { publish, following, release } = outcome
  return !following && !release && (publish === undefined || publish.length === 0)
}

/** The call that settles a batch; settle.lua replies one character an outcome, in the order of {@link answerOrder}. */
export function settleCall(
  { done, results, others }: SettleBatch,
  keys: Keys,
  parkTag: ParkTag,
  dead: DeadBounds,
): ScriptCall {
  const table = new KeyTable([keys.unacked, keys.unackedIndex])
  const args: (string | number)[] = [done.size]
  for (const [queue, list] of done)
    args.push(table.number(keys.leases(queue)), list.length, ...list.map(({ outcome }) => outcome.token ?? ''))
  // Left out with the rest when there is nothing more: settle.lua ends there.
  if (results.size + others.length > 0) args.push(results.size)
  for (const [queue, list] of results) {
    args.push(table.number(keys.leases(queue)), list.length)
    for (const { outcome } of list) {
      if (outcome.result) args.push(outcome.token ?? '', ...resultArgs(outcome.result, keys, table))
    }
  }
  for (const { outcome, queue, once } of others) {
    const actions = actionsOf(outcome, queue, keys, table, { parkTag, dead })
    if (once !== undefined) actions.unshift(['O', table.number(keys.once(once)), ONCE_SECONDS])
    args.push(outcome.token ?? '', table.number(keys.leases(queue)), JSON.stringify(queue), actions.length)
    for (const action of actions) args.push(...action)
  }
  return { name: 'settle', keys: table.keys, args }
}

/** What is to be said about the broker's answer to an outcome (see settle.lua); undefined when it was done. */
export function complaintAbout({ outcome, queue, repeated }: PendingOutcome, answer = '1'): string | undefined {
  const where = `an outcome on queue ${queue}`
  switch (answer) {
    case '0':
      return repeated ? undefined : `${where} came after its lease was lost; the task runs elsewhere`
    case 'r':
      return `${where} was settled, but the broker refused its result: look at the user's ACL and at TASKQUEUE_RESULT_TTL_SECONDS`
    case 'p':
      return `${where} was refused by the broker half-way: a message that should have followed is lost`
    case 'e':
      return outcome.token === null
        ? `${where} was refused by the broker, and the message was acknowledged before it ran: it is lost`
        : `${where} was refused by the broker; the message comes back when its lease ends`
    default:
      return undefined
  }
}

/** Numbers keys as they come up, so that each is sent once. */
class KeyTable {
  readonly keys: string[]
  readonly #numbers = new Map<string, number>()

  constructor(first: readonly string[]) {
    this.keys = [...first]
    first.forEach((key, i) => this.#numbers.set(key, i + 1))
  }

  number(key: string): number {
    let number = this.#numbers.get(key)
    if (number === undefined) {
      number = this.keys.push(key)
      this.#numbers.set(key, number)
    }
    return number
  }
}

type Action = (string | number)[]

/** Key, seconds and text of a result. */
function resultArgs({ taskId, ttlSeconds, json }: ResultWrite, keys: Keys, table: KeyTable): Action {
  return [table.number(keys.result(taskId)), ttlSeconds, json]
}

function followingActions(
  following: Following,
  keys: Keys,
  table: KeyTable,
  publish: (message: Publication) => Action,
): Action[] {
  const plain = ({ counts, publish: messages, results }: Omit<Following, 'chords'>): Action[] => [
    ...counts.map(({ groupId, size, ttlSeconds, shape }): Action => {
      const chord = keys.chord(groupId)
      const shapeKey = shape === undefined ? chord.size : chord.shape
      return [
        'S',
        table.number(chord.size),
        table.number(chord.claim),
        ttlSeconds,
        size,
        table.number(shapeKey),
        shape ?? '',
      ]
    }),
    ...messages.map(publish),
    ...results.map((result): Action => ['R', ...resultArgs(result, keys, table)]),
  ]
  const ending = (chord: ChordEnding): Action[] => {
    const inner = plain(chord)
    const { claim, parts, extra, size, counted } = keys.chord(chord.groupId)
    const numbers = [claim, parts, extra, size, counted].map((key) => table.number(key))
    return [['C', ...numbers, chord.claim, CHORD_DONE_SECONDS, inner.length], ...inner]
  }
  return [...plain(following), ...following.chords.flatMap(ending)]
}

function actionsOf(
  outcome: Outcome,
  queue: string,
  keys: Keys,
  table: KeyTable,
  { parkTag, dead }: { parkTag: ParkTag; dead: DeadBounds },
): Action[] {
  const actions: Action[] = []
  const step = stepOfTag(outcome.token)
  const publish = (message: Publication): Action => {
    const list = keys.list(message.queue, priorityStep(message.priority))
    return ['P', table.number(list), message.raw, keys.wake(message.queue)]
  }
  const park = (message: Parking): Action => {
    const record = `[${message.raw},"",${JSON.stringify(message.queue)}]`
    return ['K', table.number(keys.parked(message.queue)), parkTag(message.priority), Math.ceil(message.dueAt), record]
  }
  switch (outcome.kind) {
    case 'complete':
      actions.push(...(outcome.publish ?? []).map(publish))
      break
    case 'retry':
      actions.push('dueAt' in outcome.publish ? park(outcome.publish) : publish(outcome.publish))
      break
    case 'park':
      actions.push(['W', table.number(keys.parked(queue)), parkTag(step), Math.ceil(outcome.dueAt)])
      break
    case 'dead':
      actions.push(deadAction(outcome, keys, table, dead))
      break
    case 'giveBack':
      actions.push(['G', table.number(keys.list(queue, step)), outcome.begun ? 1 : 0])
      break
  }
  actions.push(...commonActions(outcome, keys, table, publish))
  return actions
}

function deadAction(
  { letter, message }: Extract<Outcome, { kind: 'dead' }>,
  keys: Keys,
  table: KeyTable,
  { most, seconds }: DeadBounds,
): Action {
  const second = Math.floor(letter.diedAt / 1000)
  return [
    'D',
    ...[keys.deadLetters, keys.deadMessages, keys.deadIndex, keys.deadCounts].map((key) => table.number(key)),
    ...[letter.id, second, JSON.stringify(letter), message ?? '', most, seconds],
  ]
}

/** What any outcome may have: what follows, what is set free, a result. */
function commonActions(
  outcome: Outcome,
  keys: Keys,
  table: KeyTable,
  publish: (message: Publication) => Action,
): Action[] {
  const actions: Action[] = []
  if (outcome.following) actions.push(...followingActions(outcome.following, keys, table, publish))
  if (outcome.release) actions.push(['U', table.number(keys.unique(outcome.release.name)), outcome.release.id])
  if (outcome.result) actions.push(['R', ...resultArgs(outcome.result, keys, table)])
  return actions
}
