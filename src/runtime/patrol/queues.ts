// The judges of queues: nobody consumes, consumers that stand still, consumers without work. Pure.
import { unknown, type Finding } from './finding.ts'
import type { Consumer, Limits, Look } from './look.ts'
import { isAlive, isMute, type Memory, type QueueMemory } from './memory.ts'

/** @param memory with the look in it */
export function judgeQueues(look: Look, memory: Memory, limits: Limits): Finding[] {
  if (!look.consumers.known) return [unknown('workers', look.consumers.why)]
  const consumers = look.consumers.value
  return [...memory.queues].flatMap(([queue, remembered]) => {
    const ours = consumers.filter(({ queues }) => queues.includes(queue))
    return [
      ...alone(queue, remembered, look, memory, limits),
      ...stalled(queue, remembered, look, ours, limits),
      ...idle(queue, remembered, look, ours, limits),
    ]
  })
}

function alone(
  queue: string,
  { alone: looks, aloneAt }: QueueMemory,
  look: Look,
  memory: Memory,
  { startSeconds }: Limits,
): Finding[] {
  if (looks < 2 || look.at - aloneAt < (startSeconds?.get(queue) ?? 0) * 1000) return []
  const alive = (look.presence.known ? look.presence.value : []).some(
    ({ id, kind, queues }) => kind === 'worker' && queues.includes(queue) && isAlive(memory, id, look.at),
  )
  if (alive) return []
  // A Python worker of pool solo answers nothing while it runs something.
  if (look.depth.foreignUnacked > 0)
    return [
      unknown(`queue ${queue}`, 'no worker of it answers, and Python workers that hold messages may be too busy to'),
    ]
  return [
    {
      code: 'QueueWithoutConsumer',
      severity: 'critical',
      subject: `queue ${queue}`,
      saw: 'Messages wait, and no worker that answers consumes the queue.',
      todo: 'Start a worker with this queue, or correct the name of the queue where the tasks are sent.',
    },
  ]
}

function stalled(queue: string, memory: QueueMemory, look: Look, ours: readonly Consumer[], limits: Limits): Finding[] {
  const mute = ours.filter(isMute)
  if (memory.waiting > 0 && mute.length > 0)
    return [unknown(`queue ${queue}`, `${namesOf(mute)} did not tell whether it takes anything`)]
  if (!isStalled(memory, look, limits)) return []
  return [
    {
      code: 'ConsumerStalled',
      severity: 'critical',
      subject: `queue ${queue}`,
      saw: `Messages wait beside free slots, and ${namesOf(ours)} takes none of them.`,
      todo: 'Look at its log and at the rights of its user at the broker, then restart it: its tasks are delivered again.',
    },
  ]
}

function isStalled({ stuckAt }: QueueMemory, look: Look, { stalledSeconds }: Limits): boolean {
  return stuckAt !== undefined && look.at - stuckAt >= stalledSeconds * 1000
}

/** A queue beside which workers stand still, for who would do something about it. */
export interface StalledQueue {
  readonly queue: string
  /** Since when, in milliseconds of the looker's clock. */
  readonly since: number
  /** All that consume it. None of them has taken up anything since. */
  readonly workers: readonly Consumer[]
}

/** @param memory with the look in it */
export function stalledQueues(look: Look, { queues }: Memory, limits: Limits): StalledQueue[] {
  const consumers = look.consumers.known ? look.consumers.value : []
  return [...queues].flatMap(([queue, memory]) => {
    const workers = consumers.filter((consumer) => consumer.queues.includes(queue))
    const since = memory.stuckAt
    return since !== undefined && isStalled(memory, look, limits) ? [{ queue, since, workers }] : []
  })
}

function idle(queue: string, memory: QueueMemory, look: Look, ours: readonly Consumer[], limits: Limits): Finding[] {
  const depth = look.depth.queues.find((each) => each.queue === queue)
  const empty = depth?.waiting === 0 && depth.inFlight === 0
  if (ours.length === 0 || !empty || !quiet(queue, memory, look, limits.idleQueueSeconds * 1000)) return []
  return [
    {
      code: 'ConsumerIdle',
      severity: 'notice',
      subject: `queue ${queue}`,
      saw: `${namesOf(ours)} consumes the queue, and nothing has come for a long time.`,
      todo: 'See whether the producers send to this queue, by its name and to this broker, database and key prefix.',
    },
  ]
}

/** By what we saw ourselves; or, for who has just begun to look, by what its workers remember. */
function quiet(queue: string, { quietAt }: QueueMemory, look: Look, idleMs: number): boolean {
  if (look.at - quietAt >= idleMs) return true
  const told = look.presence.known ? look.presence.value.filter(({ kind }) => kind === 'worker') : []
  const ours = told.filter(({ queues }) => queues.includes(queue))
  return (
    ours.length > 0 &&
    ours.every(({ lastProgressAt }) => lastProgressAt !== null && look.brokerMs - lastProgressAt >= idleMs)
  )
}

function namesOf(consumers: readonly Consumer[]): string {
  return consumers
    .map(({ name }) => name)
    .sort()
    .join(', ')
}
