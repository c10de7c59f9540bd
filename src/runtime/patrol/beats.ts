// The judges of beat: schedules that it doesn't have, doesn't fire, or fires in vain; and a second beat. Pure.
import { unknown, type Finding, type FindingCode } from './finding.ts'
import type { Limits, Look, ScheduleSeen } from './look.ts'
import { isAlive, type Memory } from './memory.ts'

/** Beat looks at everything every two seconds; this is late beyond that. Seconds. */
const OVERDUE_SECONDS = 10

/** @param memory with the look in it */
export function judgeBeats(look: Look, memory: Memory, limits: Limits): Finding[] {
  return [...twoBeats(look, memory), ...schedules(look, memory, limits)]
}

function twoBeats(look: Look, memory: Memory): Finding[] {
  if (!look.presence.known) return [unknown('beats', look.presence.why)]
  // One that stands by is as it should be: it fires nothing.
  const firing = look.presence.value.filter(
    ({ id, kind, detail }) => kind === 'beat' && detail?.['lease'] === 'leader' && isAlive(memory, id, look.at),
  )
  if (firing.length < 2) return []
  const names = firing.map(({ id }) => id).sort()
  return [
    {
      code: 'TwoBeats',
      severity: 'critical',
      subject: 'beat',
      saw: `More than one beat holds a lease and fires: ${names.join(', ')}.`,
      todo: 'End all but one, or give them the same --name, so that they share one lease.',
    },
  ]
}

function schedules(look: Look, { repeated }: Memory, limits: Limits): Finding[] {
  if (!look.schedules.known) return [unknown('schedules', look.schedules.why)]
  const twice = (what: string): boolean => (repeated.get(what) ?? 0) > 1
  return look.schedules.value.flatMap((schedule) => {
    const { name, overdueSeconds, sentSecondsAgo } = schedule
    if (twice(`missing ${name}`))
      return scheduleFinding(
        schedule,
        'ScheduleMissing',
        'Beat does not have it: its place is not in the broker.',
        'Is a beat running with these schedules, under this name? Its log says what it has loaded.',
      )
    if (twice(`overdue ${name}`) && overdueSeconds > OVERDUE_SECONDS)
      return scheduleFinding(
        schedule,
        'ScheduleOverdue',
        'A slot of it is due, and no beat has sent it.',
        'Start beat, or look at its log: it says what it waits for.',
      )
    if ((sentSecondsAgo ?? 0) < limits.stalledSeconds) return []
    if (twice(`waits ${name}`))
      return scheduleFinding(
        schedule,
        'ScheduleNotRun',
        'Its last task was sent, and still waits in its queue.',
        'See who consumes that queue, and whether its workers come after with their work.',
      )
    return twice(`unsearched ${name}`)
      ? [unknown(`schedule ${name}`, 'its queue is too long to be searched for its last task')]
      : []
  })
}

function scheduleFinding({ name }: ScheduleSeen, code: FindingCode, saw: string, todo: string): Finding[] {
  return [{ code, severity: 'critical', subject: `schedule ${name}`, saw, todo }]
}
