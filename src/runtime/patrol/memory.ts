// What a patrol remembers from look to look: since when a queue stands still, which processes are seen alive. Pure: a look in, a
// memory out. All of it by the looker's own monotonic clock.
import type { QueueDepth } from '../broker/transport.ts'
import type { Consumer, Look } from './look.ts'

/** What is remembered of one queue. Instants are milliseconds of the looker's clock. */
export interface QueueMemory {
  /** Looks in a row in which something waited and nobody consumed. */
  readonly alone: number
  /** When the first of them was. */
  readonly aloneAt: number
  /** Since when something has waited beside free slots while nothing moved; undefined while things move. */
  readonly stuckAt: number | undefined
  /** Since when nothing at all has happened. */
  readonly quietAt: number
  readonly waiting: number
  /** What its consumers had taken up, and what they ran. */
  readonly progress: string
  /** Everything that changes with traffic. */
  readonly trace: string
}

export interface Memory {
  readonly looks: number
  /** When the last look was. */
  readonly at: number
  readonly queues: ReadonlyMap<string, QueueMemory>
  /** By id of a presence, its counter, and when that was last seen to have moved. */
  readonly alive: ReadonlyMap<string, { readonly counter: number; readonly movedAt: number | undefined }>
  readonly dead: number | undefined
  /** When the dead letters were last seen to have become more. */
  readonly deadGrewAt: number | undefined
  /** Of the last looks, how many in a row said so, by code and subject. */
  readonly repeated: ReadonlyMap<string, number>
}

export const EMPTY: Memory = {
  looks: 0,
  at: 0,
  queues: new Map(),
  alive: new Map(),
  dead: undefined,
  deadGrewAt: undefined,
  repeated: new Map(),
}

/** Presence is written every five seconds: one that stood still for longer is of a process that is gone or stopped. */
const ALIVE_MS = 15_000

/** @returns the memory with the look in it */
export function remember(before: Memory, look: Look): Memory {
  const consumers = look.consumers.known ? look.consumers.value : undefined
  const grew = look.deadLetters.known && before.dead !== undefined && look.deadLetters.value.count > before.dead
  return {
    looks: before.looks + 1,
    at: look.at,
    queues: new Map(look.depth.queues.map((depth) => [depth.queue, queueMemory(before, look, consumers, depth)])),
    alive: aliveAfter(before, look),
    dead: look.deadLetters.known ? look.deadLetters.value.count : before.dead,
    deadGrewAt: grew ? look.at : before.deadGrewAt,
    repeated: repeatedAfter(before, look),
  }
}

/** Whether a process with a presence is seen to live: its counter moves. */
export function isAlive(memory: Memory, id: string, now: number): boolean {
  const movedAt = memory.alive.get(id)?.movedAt
  return movedAt !== undefined && now - movedAt <= ALIVE_MS
}

function queueMemory(
  before: Memory,
  look: Look,
  consumers: readonly Consumer[] | undefined,
  { queue, waiting, inFlight, parked }: QueueDepth,
): QueueMemory {
  const last = before.queues.get(queue)
  const ours = consumers?.filter(({ queues }) => queues.includes(queue)) ?? []
  // Long tasks that are taken up end later: what runs counts as well.
  const progress = JSON.stringify(ours.map(({ name, processed, busy }) => [name, processed, busy].join(' ')).sort())
  // In flight and parked count as well: a message that is taken is traffic, though nothing has ended yet.
  const trace = JSON.stringify([waiting, inFlight, parked, progress])
  const stuck = last !== undefined && stands(last, waiting, progress) && couldTake(ours)
  const alone = consumers !== undefined && waiting > 0 && ours.length === 0
  return {
    ...aloneAfter(last, alone, look.at),
    // What stands still now has stood since the look before, at least.
    stuckAt: stuck ? (last.stuckAt ?? before.at) : undefined,
    quietAt: last?.trace === trace ? last.quietAt : look.at,
    waiting,
    progress,
    trace,
  }
}

function aloneAfter(
  last: QueueMemory | undefined,
  alone: boolean,
  now: number,
): Pick<QueueMemory, 'alone' | 'aloneAt'> {
  const before = last?.alone ?? 0
  return { alone: alone ? before + 1 : 0, aloneAt: last !== undefined && before > 0 ? last.aloneAt : now }
}

/** Something waited, no less does now, and nobody has taken up anything. */
function stands(last: QueueMemory, waiting: number, progress: string): boolean {
  return last.waiting > 0 && waiting >= last.waiting && last.progress === progress
}

/** There are workers, they tell what they do, and not every slot runs something: that would be long work. */
function couldTake(consumers: readonly Consumer[]): boolean {
  return consumers.length > 0 && judgeable(consumers) && !full(consumers)
}

function judgeable(consumers: readonly Consumer[]): boolean {
  return consumers.every((consumer) => !isMute(consumer))
}

/** It did not tell what it has done and does. An answer may be too large to be taken, or come too late. */
export function isMute({ processed, busy }: Consumer): boolean {
  return processed === undefined || busy === undefined
}

function full(consumers: readonly Consumer[]): boolean {
  return consumers.every(({ busy, slots }) => busy !== undefined && slots !== undefined && busy >= slots)
}

function aliveAfter(before: Memory, look: Look): Memory['alive'] {
  if (!look.presence.known) return before.alive
  return new Map(
    look.presence.value.map(({ id, counter }) => {
      const last = before.alive.get(id)
      const moved = last !== undefined && last.counter !== counter
      return [id, { counter, movedAt: moved ? look.at : last?.movedAt }]
    }),
  )
}

/** What a single look may see by chance, between two steps of somebody's work, has to be seen twice. */
function repeatedAfter(before: Memory, look: Look): ReadonlyMap<string, number> {
  const now: string[] = []
  if (look.unacked.known && look.unacked.value.withoutIndex > 0) now.push('unacked')
  if (look.schedules.known)
    for (const { name, known, paused, overdueSeconds, waits } of look.schedules.value) {
      if (paused) continue
      if (!known) now.push(`missing ${name}`)
      if (overdueSeconds > 0) now.push(`overdue ${name}`)
      if (waits === true) now.push(`waits ${name}`)
      if (waits === undefined) now.push(`unsearched ${name}`)
    }
  return new Map(now.map((what) => [what, (before.repeated.get(what) ?? 0) + 1]))
}
