// The names of everything we keep in Redis: kombu's keys as kombu names them, our own under `taskqueue:`. The global key
// prefix goes before every key and every channel, as kombu's global_keyprefix does.
import { queueKey, SEPARATOR, type PriorityStep } from '../../protocol/queue-key.ts'
import { resultKey } from '../../protocol/result.ts'

/** Parts that have ended, tasks added later, how many are wanted, parts that were counted, who sends the body, and its shape. */
export interface ChordKeys {
  readonly shape: string
  readonly parts: string
  readonly extra: string
  readonly size: string
  readonly counted: string
  readonly claim: string
}

/** Names, for one prefix and one database. */
export interface Keys {
  readonly prefix: string
  readonly unacked: string
  readonly unackedIndex: string
  /** Queues that may hold leases or parked messages. */
  readonly queues: string
  readonly deadLetters: string
  readonly deadMessages: string
  readonly deadIndex: string
  /** Hash: `serial` tells letters of one id apart, `forgotten` counts those that were forgotten and not told of yet. */
  readonly deadCounts: string
  list(queue: string, step: PriorityStep): string
  /** Sorted set of tags, scored by the second in which the lease ends. */
  leases(queue: string): string
  /** Sorted set of tags, scored by the millisecond in which the message is due. */
  parked(queue: string): string
  /** Channel on which our producers say that a queue has something new. */
  wake(queue: string): string
  result(taskId: string): string
  /** The keys of a chord, as Celery names them. */
  chord(groupId: string): ChordKeys
  binding(exchange: string): string
  fanout(exchange: string, routingKey: string): string
  lease(name: string): string
  cursors(beat: string): string
  /** Hash by schedule of its newest slots that were missed. */
  missedSlots(beat: string): string
  /** Set of schedules that somebody has paused. */
  pausedSchedules(beat: string): string
  /** Says that an outcome which no tag fences was done. */
  once(name: string): string
  /** The id of the task that holds a name. */
  unique(name: string): string
  /** Sorted set of ids of tasks that were called off, scored by the second in which they may be forgotten. */
  readonly revoked: string
  named(key: string): string
}

export function redisKeys(prefix: string, db: number): Keys {
  const own = (name: string): string => `${prefix}taskqueue:${name}`
  return {
    prefix,
    unacked: `${prefix}unacked`,
    unackedIndex: `${prefix}unacked_index`,
    queues: own('queues'),
    deadLetters: own('dead:letters'),
    deadMessages: own('dead:messages'),
    deadIndex: own('dead:index'),
    deadCounts: own('dead:counts'),
    list: (queue, step) => prefix + queueKey(queue, step),
    leases: (queue) => own(`leases:${queue}`),
    parked: (queue) => own(`parked:${queue}`),
    wake: (queue) => own(`wake:${queue}`),
    result: (taskId) => prefix + resultKey(taskId),
    chord: (groupId) => {
      const base = `${prefix}celery-taskset-meta-${groupId}`
      return {
        shape: base,
        parts: `${base}.j`,
        extra: `${base}.t`,
        size: `${base}.s`,
        counted: `${base}.d`,
        claim: `${base}.c`,
      }
    },
    binding: (exchange) => `${prefix}_kombu.binding.${exchange}`,
    fanout: (exchange, routingKey) => `${prefix}/${db}.${exchange}${routingKey === '' ? '' : `/${routingKey}`}`,
    unique: (name) => own(`unique:${name}`),
    lease: (name) => own(`lease:${name}`),
    cursors: (beat) => own(`cursors:${beat}`),
    missedSlots: (beat) => own(`missed:${beat}`),
    pausedSchedules: (beat) => own(`paused-schedules:${beat}`),
    revoked: own('revoked'),
    once: (name) => own(`once:${name}`),
    named: (key) => prefix + key,
  }
}

/** The queues that a member of kombu's binding table names for a routing key. */
export function boundQueues(members: readonly string[], routingKey: string): string[] {
  const queues: string[] = []
  for (const member of members) {
    const [key, , queue] = member.split(SEPARATOR)
    if (key === routingKey && queue !== undefined && queue !== '') queues.push(queue)
  }
  return queues
}
