// The judge of a history: what of the promises was broken, and whether each repetition has a cause in it. Pure.

import {
  PROMOTION,
  type Event,
  type Fault,
  type History,
  type JobKind,
  type Published,
  type Run,
  type Slot,
} from './history.ts'

export const RULES = [
  'lost',
  'unexplained duplicate',
  'early',
  'doubled slot',
  'unaccounted slot',
  'doubled chord body',
  'chord body before its parts',
  'too many attempts',
  'no dead letter',
  'not drained',
] as const
export type Rule = (typeof RULES)[number]

export interface Violation {
  readonly rule: Rule
  readonly id: string
  readonly text: string
}

export interface Verdict {
  readonly violations: readonly Violation[]
  /** Rules that the subject promises nothing about. */
  readonly notApplicable: readonly Rule[]
  readonly counts: {
    readonly published: number
    /** Publishes whose fate nobody knows. */
    readonly unknown: number
    readonly executions: number
    /** Executions beyond the first of an attempt, each with a cause. */
    readonly explained: number
    readonly faults: number
    readonly slots: number
    readonly dead: number
    /** Jobs that were acknowledged by a broker which was gone before its replica had them, and what the replica had not got. */
    readonly lostByBroker: number
    readonly lostBytes: number
  }
}

/** Bytes that the shortest message of any subject takes in the broker's stream: so many jobs at most can be lost with it. */
const LEAST_BYTES = 100

/** A history that can be asked. */
class Seen {
  readonly history: History
  readonly published = new Map<string, Published>()
  readonly unknown = new Set<string>()
  /** Each time that it was sent, whatever became of that. */
  readonly sent = new Map<string, Published[]>()
  readonly begun = new Map<string, Run[]>()
  readonly done = new Map<string, Run[]>()
  readonly faults: Fault[] = []
  readonly slots: Slot[] = []
  readonly engines = new Map<number, string>()

  constructor(history: History) {
    this.history = history
    for (const event of history.events) this.#note(event)
  }

  #note(event: Event): void {
    switch (event.what) {
      case 'published':
        // What was of unknown fate and then acknowledged was sent twice under one id: that explains a repetition.
        if (event.fate === 'acknowledged') this.published.set(event.id, event)
        else this.unknown.add(event.id)
        push(this.sent, event.id, event)
        break
      case 'begin':
        push(this.begun, event.id, event)
        break
      case 'end':
      case 'threw':
        push(this.done, event.id, event)
        break
      case 'fault':
        this.faults.push(event)
        break
      case 'slot':
        this.slots.push(event)
        break
      case 'started':
        this.engines.set(event.pid, event.engine)
    }
  }

  /** Who had a job last, as far as anybody saw. */
  lastHands(id: string): string {
    const last = (this.begun.get(id) ?? []).toSorted((a, b) => a.at - b.at).at(-1)
    if (!last) return 'nobody began it'
    return `it began last in ${last.pid} (${this.engines.get(last.pid) ?? 'unknown'}), attempt ${last.attempt}`
  }

  ended(id: string): readonly Run[] {
    return (this.done.get(id) ?? []).filter(({ what }) => what === 'end')
  }
}

function push<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key)
  if (list) list.push(value)
  else map.set(key, [value])
}

export function check(history: History): Verdict {
  const seen = new Seen(history)
  const { promises, end } = history
  const duplicates = judgeDuplicates(seen)
  const losses = lost(seen)
  const none: readonly (readonly [boolean, readonly Rule[]])[] = [
    [promises.later, ['early']],
    [promises.beat, ['doubled slot', 'unaccounted slot']],
    [promises.chords, ['doubled chord body', 'chord body before its parts']],
    [promises.retries, ['too many attempts']],
    [promises.deadLetters, ['no dead letter']],
  ]
  const notApplicable = none.flatMap(([promised, rules]) => (promised ? [] : rules))
  const violations = [
    ...losses.violations,
    ...duplicates.violations,
    ...early(seen),
    ...slots(seen),
    ...chords(seen),
    ...attempts(seen),
    ...deadLetters(seen),
    ...drained(seen),
  ].filter(({ rule }) => !notApplicable.includes(rule))
  return {
    violations,
    notApplicable,
    counts: {
      published: seen.published.size,
      unknown: seen.unknown.size,
      executions: sum([...seen.begun.values()].map((list) => list.length)),
      explained: duplicates.explained,
      faults: seen.faults.length,
      slots: seen.slots.length,
      dead: end.dead.length,
      lostByBroker: losses.byBroker,
      lostBytes: losses.bytes,
    },
  }
}

/** Every job that the broker acknowledged has ended well, or is kept as a dead letter, or the broker itself has lost it. */
function lost(seen: Seen): { violations: Violation[]; byBroker: number; bytes: number } {
  const { history, published } = seen
  // What still waits is not lost; that it waits is a violation of its own.
  let waiting = history.end.left
  const dead = new Set(history.end.dead)
  const promotions = seen.faults.filter(({ kind }) => kind === PROMOTION)
  const bytes = sum(promotions.map(({ lostBytes = 0 }) => lostBytes))
  const violations: Violation[] = []
  let byBroker = 0
  for (const job of published.values()) {
    const { id, kind } = job
    if (kind === 'doomed' && !history.promises.retries) continue
    if (seen.ended(id).length > 0 || dead.has(id)) continue
    const excused = promotions.some((promotion) => wasOnItsWay(job, promotion))
    if (kind !== 'doomed' && !excused && waiting-- > 0) continue
    if (excused && (byBroker + 1) * LEAST_BYTES <= bytes) byBroker++
    // That a doomed one has no dead letter is a rule of its own.
    else if (kind !== 'doomed')
      violations.push({
        rule: 'lost',
        id,
        text: `the broker acknowledged this ${kind} job, and it never ended; ${seen.lastHands(id)}`,
      })
  }
  return { violations, byBroker, bytes }
}

/** Whether its producer had no answer yet at some time of a fault. That of a promotion begins when the replica is told no more. */
function wasOnItsWay({ at, answeredAt = at }: Published, { from, to }: Fault): boolean {
  return answeredAt >= from && at <= to
}

/** Of an attempt that began twice, each time but the first has a cause before it. */
function judgeDuplicates(seen: Seen): { violations: Violation[]; explained: number } {
  const { attempts } = seen.history.promises
  const violations: Violation[] = []
  let explained = 0
  for (const [id, runs] of seen.begun) {
    const groups = new Map<number, Run[]>()
    // Without numbers of attempts, those that a flaky job has by itself are told by how they ended.
    const own = attempts ? runs : withoutFailed(seen, id, runs)
    for (const run of own) {
      const key = attempts ? run.attempt : 0
      groups.set(key, [...(groups.get(key) ?? []), run])
    }
    for (const group of groups.values()) {
      const [first, ...again] = group.toSorted((a, b) => a.at - b.at)
      let before = first
      for (const run of again) {
        if (before && explains(seen, id, before, run)) explained++
        else
          violations.push({
            rule: 'unexplained duplicate',
            id,
            text: `attempt ${run.attempt} began in ${before?.pid ?? 0} at ${ms(before?.at ?? 0)} and again in ${run.pid} at ${ms(run.at)}; nothing happened to the first, ${sentWords(seen, id)}`,
          })
        before = run
      }
    }
  }
  return { violations, explained }
}

/** When it was sent, and how long the answer took: a producer that has none sends again. */
function sentWords({ sent }: Seen, id: string): string {
  const times = (sent.get(id) ?? []).map(
    ({ at, answeredAt = at }) => `${ms(at)} (answered ${ms(answeredAt - at)} later)`,
  )
  return `which was sent at ${times.join(' and ') || 'a time that is not known'}`
}

function withoutFailed(seen: Seen, id: string, runs: readonly Run[]): readonly Run[] {
  const threw = (seen.done.get(id) ?? []).filter(({ what }) => what === 'threw')
  return runs.filter((run) => !threw.some((end) => end.pid === run.pid && end.at >= run.at && end.at - run.at < 60_000))
}

/** Faults in which a process stands still. */
const STOPS: ReadonlySet<Fault['kind']> = new Set(['stop worker', 'stop worker for long'])
/** Faults that explain no repetition: a clock that is set is no excuse, and beat runs nothing. */
const NO_EXCUSES: ReadonlySet<Fault['kind']> = new Set(['clock step', 'kill beat', 'stop beat'])

/** Whether something happened to an execution, to its process or to its broker, from when it was taken until another began. */
function explains(seen: Seen, id: string, first: Run, second: Run): boolean {
  if (seen.unknown.has(id) || mayBeThereTwice(seen, id) || wasStoppedMeanwhile(seen, first, second)) return true
  const { leaseMs } = seen.history.promises
  // A fault of before may show only once a lease, or what stands for it, has run out.
  const from = first.at - leaseMs
  return seen.faults.some(({ from: began, to, pids, kind }) => {
    if (to < from || began > second.at || NO_EXCUSES.has(kind)) return false
    return pids === undefined || pids.includes(first.pid)
  })
}

/**
 * Whether the process of the second stood still when the first began: it had taken the message and not begun it, its lease ended, another
 * ran it, and then it went on.
 */
function wasStoppedMeanwhile({ faults }: Seen, first: Run, second: Run): boolean {
  return faults.some(
    ({ from, to, pids, kind }) =>
      STOPS.has(kind) && (pids?.includes(second.pid) ?? false) && from <= first.at && first.at <= to,
  )
}

/**
 * Whether its producer had no answer yet when something happened to the broker: it sends again what it has none for, and both may be there.
 * However long they wait then: where there is a backlog, they begin long after the fault.
 */
function mayBeThereTwice({ sent, faults }: Seen, id: string): boolean {
  const broker = faults.filter(({ kind, pids }) => pids === undefined && !NO_EXCUSES.has(kind))
  return (sent.get(id) ?? []).some((publish) => broker.some((fault) => wasOnItsWay(publish, fault)))
}

/**
 * Nothing that was to begin later began before its time, by the clock that says what is due: the broker's, which is the machine's. Of what was
 * sent more than once under one id, any may have been the first to begin.
 */
function early({ history, sent, begun }: Seen): Violation[] {
  const bad: Violation[] = []
  for (const [id, publishes] of sent) {
    const [first] = (begun.get(id) ?? []).toSorted((a, b) => a.at - b.at)
    if (!first) continue
    const dues = publishes.flatMap((publish) => dueAt(history, publish, first.at) ?? [])
    if (dues.length === 0 || first.at >= Math.min(...dues) - history.promises.earlyMs) continue
    bad.push({ rule: 'early', id, text: `due at ${dues.map(ms).join(' or ')}, began at ${ms(first.at)}` })
  }
  return bad
}

/** When it is due on the monotonic clock: sooner by as much as the wall clock went ahead while it waited. */
function dueAt({ wall }: History, { at, answeredAt = at, due }: Published, begun: number): number | undefined {
  if (due === undefined || wall.length === 0) return due
  const sent = looks(wall, at, answeredAt)
  const waited = looks(wall, at, begun)
  return due - Math.max(0, Math.max(...waited) - Math.min(...sent))
}

/** How far the wall clock had moved between two instants: by the looks at it between them, the one before and the one after. */
function looks(wall: History['wall'], from: number, to: number): number[] {
  const before = wall.findLastIndex(({ at }) => at <= from)
  const after = wall.findIndex(({ at }) => at >= to)
  return wall.slice(Math.max(0, before), after < 0 ? wall.length : after + 1).map(({ movedMs }) => movedMs)
}

/** Each slot of a schedule is one message, and those that are none are accounted as missed. */
function slots({ history, slots: found }: Seen): Violation[] {
  const bad: Violation[] = []
  for (const { name, passed, missed } of history.end.schedules) {
    const ids = new Map<number, Set<string>>()
    for (const { slot, id } of found.filter(({ schedule }) => schedule === name))
      ids.set(slot, (ids.get(slot) ?? new Set()).add(id))
    for (const [slot, of] of ids)
      if (of.size > 1)
        bad.push({ rule: 'doubled slot', id: `${name} ${slot}`, text: `${of.size} messages: ${[...of].join(', ')}` })
    if (ids.size + missed !== passed)
      bad.push({
        rule: 'unaccounted slot',
        id: name,
        text: `${passed} slots passed, ${ids.size} ran and ${missed} are accounted as missed`,
      })
  }
  return bad
}

/** A chord's body is one message, and begins once all its parts have ended. */
function chords(seen: Seen): Violation[] {
  const bad: Violation[] = []
  const parts = new Map<string, string[]>()
  for (const { chord, kind, id } of seen.published.values())
    if (kind === 'part' && chord !== undefined) push(parts, chord, id)
  for (const { id, kind, chord = '' } of seen.published.values()) {
    if (kind !== 'body') continue
    const begun = (seen.begun.get(id) ?? []).toSorted((a, b) => a.at - b.at)
    const ends = seen.ended(id)
    // Its repetitions need a cause, as those of any job; a second body has none that could be one.
    const [first] = begun
    if (ends.length > 1 && !begun.some((run, i) => i > 0 && explains(seen, id, begun[i - 1] as Run, run)))
      bad.push({ rule: 'doubled chord body', id, text: `ended ${ends.length} times` })
    const open = (parts.get(chord) ?? []).filter(
      (part) => first && !seen.ended(part).some((end) => end.at <= first.at + seen.history.promises.earlyMs),
    )
    if (open.length > 0)
      bad.push({ rule: 'chord body before its parts', id, text: `${open.length} of its parts had not ended` })
  }
  return bad
}

function attempts({ history, published, begun }: Seen): Violation[] {
  if (!history.promises.attempts) return []
  const bad: Violation[] = []
  for (const { id, kind } of published.values()) {
    const most = Math.max(0, ...(begun.get(id) ?? []).map(({ attempt }) => attempt))
    const limit = limitOf(kind, history)
    if (most > limit) bad.push({ rule: 'too many attempts', id, text: `attempt ${most} of ${limit}` })
  }
  return bad
}

function limitOf(kind: JobKind, { failures, maxAttempts }: History): number {
  if (kind === 'flaky') return failures + 1
  return kind === 'doomed' ? maxAttempts : 1
}

function deadLetters({ history, published, faults }: Seen): Violation[] {
  const dead = new Set(history.end.dead)
  const promotions = faults.filter(({ kind }) => kind === PROMOTION)
  return [...published.values()]
    .filter(({ kind, id }) => kind === 'doomed' && !dead.has(id))
    .filter((job) => !promotions.some((promotion) => wasOnItsWay(job, promotion)))
    .map(({ id }) => ({ rule: 'no dead letter', id, text: 'it can not succeed, and is not among the dead letters' }))
}

function drained({ history }: Seen): Violation[] {
  const { left } = history.end
  return left === 0 ? [] : [{ rule: 'not drained', id: 'backlog', text: `${left} jobs were left when all was healed` }]
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, n) => total + n, 0)
}

function ms(at: number): string {
  return `${Math.round(at)} ms`
}
