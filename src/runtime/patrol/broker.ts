// The judges of the broker: what it would lose, what died in it, what nobody gives back. Pure.
import { unknown, type Finding } from './finding.ts'
import type { Consumer, Limits, Look } from './look.ts'
import type { Memory } from './memory.ts'

/** For so long after they were seen to grow, dead letters are told. Milliseconds. */
const GROWTH_TOLD_MS = 600_000
/** A worker that sweeps needs a moment for it. Seconds. */
const SWEEP_SECONDS = 10

/** @param memory with the look in it */
export function judgeBroker(look: Look, memory: Memory, limits: Limits): Finding[] {
  return [...safety(look), ...deadLetters(look, memory), ...unacked(look, memory, limits), ...visibility(look, limits)]
}

function safety({ safety: { persistent, evictionPolicy } }: Look): Finding[] {
  const findings: Finding[] = []
  if (!persistent.known) findings.push(unknown('persistence of the broker', persistent.why))
  else if (!persistent.value)
    findings.push({
      code: 'BrokerNotPersistent',
      severity: 'critical',
      subject: 'broker',
      saw: 'It writes nothing to disk: a restart of it loses every task, and where each schedule was.',
      todo: 'Set appendonly yes (appendfsync everysec), on a disk that outlives it.',
    })
  if (!evictionPolicy.known) findings.push(unknown('eviction policy of the broker', evictionPolicy.why))
  else if (evictionPolicy.value !== 'noeviction')
    findings.push({
      code: 'BrokerEvictsKeys',
      severity: evictionPolicy.value.startsWith('allkeys') ? 'critical' : 'warning',
      subject: 'broker',
      saw: `Its maxmemory-policy is ${evictionPolicy.value}: when it is full it drops keys, and what they held.`,
      todo: 'Set maxmemory-policy noeviction: then what has no room is refused, and the sender is told.',
    })
  return findings
}

function deadLetters({ deadLetters: count, at }: Look, { deadGrewAt }: Memory): Finding[] {
  if (!count.known) return [unknown('dead letters', count.why)]
  if (count.value.count === 0 || deadGrewAt === undefined || at - deadGrewAt > GROWTH_TOLD_MS) return []
  return [
    {
      code: 'DeadLettersGrowing',
      severity: 'warning',
      subject: 'dead letters',
      saw: 'Tasks end as dead letters.',
      todo: 'See `taskqueue dead list` for why; once that is put right, `taskqueue dead retry --all` runs them again.',
    },
  ]
}

function unacked({ unacked: state, consumers }: Look, { repeated }: Memory, limits: Limits): Finding[] {
  if (!state.known) return [unknown('unacked messages', state.why)]
  const findings: Finding[] = []
  if ((repeated.get('unacked') ?? 0) > 1)
    findings.push({
      code: 'UnackedWithoutIndex',
      severity: 'critical',
      subject: 'unacked',
      saw: 'Messages were taken that no entry of unacked_index names: should their worker be lost, nobody restores them.',
      todo: 'See who deletes keys, an eviction policy for one; put such messages back by hand once their worker has ended.',
    })
  // The longest of those who restore: before that, waiting is what they are told to do.
  const told = pythons(consumers).map(({ visibilitySeconds }) => visibilitySeconds ?? 0)
  const visible = Math.max(limits.visibilityTimeoutSeconds, ...told)
  if (state.value.oldestSeconds !== null && state.value.oldestSeconds > visible + SWEEP_SECONDS)
    findings.push({
      code: 'UnackedAbandoned',
      severity: 'critical',
      subject: 'unacked',
      saw: 'Messages were taken longer ago than the visibility timeout, and nobody restores them.',
      todo: 'Start a worker of their queue: it restores what lost workers held.',
    })
  return findings
}

function visibility({ consumers, depth }: Look, limits: Limits): Finding[] {
  const python = pythons(consumers)
  // Of a broker that is shared, other people's workers are their business; their visibility timeout is everybody's.
  const looked = new Set(depth.queues.map(({ queue }) => queue))
  const shortest = Math.min(
    ...python.map(({ visibilitySeconds }) => visibilitySeconds ?? limits.visibilityTimeoutSeconds),
  )
  const longer = python.filter(
    ({ timeLimitSeconds = 0, queues }) => timeLimitSeconds > shortest && queues.some((queue) => looked.has(queue)),
  )
  return longer.map(({ name }) => ({
    code: 'VisibilityTimeoutTooShort',
    severity: 'warning',
    subject: `worker ${name}`,
    saw: 'Its tasks may run for longer than the visibility timeout of the Python workers at this broker: they are then run twice.',
    todo: 'Set broker_transport_options.visibility_timeout of all Python workers above the longest task_time_limit.',
  }))
}

function pythons(consumers: Look['consumers']): readonly Consumer[] {
  return consumers.known ? consumers.value.filter(({ python }) => python) : []
}
