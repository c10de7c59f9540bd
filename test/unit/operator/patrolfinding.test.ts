// Patrol's findings in status: their conditions, the list, and what is not known.
import { describe, expect, it } from 'vitest'
import type { Finding, FindingCode, Severity } from '@taskqueue/runtime/patrol'
import type { EventNote, EventRecorder } from '../../../src/operator/events.ts'
import { desiredOf } from '../../../src/operator/desired/index.ts'
import type { BrokerObservation, PatrolObservation } from '../../../src/operator/inspect/observation.ts'
import { patrolTarget } from '../../../src/operator/inspect/patroltarget.ts'
import type { Condition, LivePod } from '../../../src/operator/objects.ts'
import { PatrolEvents } from '../../../src/operator/patrolevents.ts'
import type { ToldFinding } from '../../../src/operator/patrolfinding.ts'
import type { Situation } from '../../../src/operator/situation.ts'
import { statusOf } from '../../../src/operator/status.ts'
import type { TaskQueue } from '../../../src/operator/taskqueue.ts'
import { beat, schedule, taskQueue } from '../../fixtures/taskqueues.ts'

const observed = {
  operatorImage: 'op:1',
  companionImage: 'op:1',
  allowPrivilegedPods: false,
  allowDiscipline: false,
  provenImages: new Set<string>(),
  workersWanted: true,
}

const finding = (code: FindingCode, subject: string, severity: Severity = 'critical'): Finding => {
  return { code, severity, subject, saw: `Saw ${code}.`, todo: 'Do this.' }
}
const seen = (...findings: Finding[]): PatrolObservation => {
  return { known: true, at: 0, findings, stalled: [], deadLetters: { count: 3, newestAt: 1_800_000_000_000 } }
}
const blind: PatrolObservation = { known: false, findings: [finding('Unknown', 'broker', 'unknown')] }

const reachable = (waiting = 0): BrokerObservation => ({
  reachable: true,
  queues: new Map([['default', { waiting, inFlight: 0, parked: 0 }]]),
  foreignInFlight: 0,
  presence: [],
})

function situation(queue: TaskQueue, ready: number, changes: Partial<Situation> = {}): Situation {
  return {
    queue,
    desired: desiredOf(queue, observed),
    deployments: new Map([
      [
        'orders-default',
        {
          apiVersion: 'apps/v1',
          kind: 'Deployment',
          metadata: { name: 'orders-default', namespace: 'demo', generation: 1 },
          spec: { replicas: 2, selector: {}, template: { spec: { containers: [] } } },
          status: { observedGeneration: 1, replicas: 2, updatedReplicas: 2, readyReplicas: ready },
        },
      ],
    ]),
    rolling: new Set(),
    pods: [],
    beatPod: undefined,
    beatHistory: { restarts: 0 },
    broker: reachable(),
    patrol: undefined,
    refused: [],
    scales: new Map([['default', { replicas: ready, why: '' }]]),
    disciplineAllowed: false,
    now: new Date('2026-01-01T00:00:00Z'),
    ...changes,
  }
}

function condition(s: Situation, type: string): Condition {
  const found = statusOf(s).status.conditions?.find((c) => c.type === type)
  if (!found) throw new Error(`there is no condition ${type}`)
  return found
}

const beatPod: LivePod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'orders-beat', namespace: 'demo', uid: 'b' },
  spec: { containers: [] },
  status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
}

describe('QueuesServed', () => {
  it.each([['ConsumerStalled' as const], ['QueueWithoutConsumer' as const]])('is False for %s', (code) => {
    const s = situation(taskQueue(), 2, { broker: reachable(4), patrol: seen(finding(code, 'queue default')) })
    expect(condition(s, 'QueuesServed')).toMatchObject({
      status: 'False',
      reason: code,
      message: `Queue default: Saw ${code}. Do this.`,
    })
    expect(condition(s, 'Ready').status).toBe('True')
  })

  it('gives the missing pods as the reason where there are none, once for each queue', () => {
    const patrol = seen(finding('QueueWithoutConsumer', 'queue default'), finding('ConsumerStalled', 'queue other'))
    const found = condition(situation(taskQueue(), 0, { broker: reachable(4), patrol }), 'QueuesServed')
    expect(found.reason).toBe('NoConsumer')
    expect(found.message).not.toContain('Saw QueueWithoutConsumer')
    expect(found.message).toContain('Queue other: Saw ConsumerStalled')
  })

  it('is True while pods of a pool from zero are started, and says so; patrol tells when they are late', () => {
    const autoscale = { minReplicas: 0, maxReplicas: 4, backlogPerReplica: 10, cooldownSeconds: 60 }
    const queue = taskQueue({
      workers: [{ name: 'default', queues: ['default'], concurrency: 8, autoscale, maxTaskSeconds: 6, probe: 'None' }],
    })
    const s = situation(queue, 0, { broker: reachable(4), patrol: seen() })
    expect(condition(s, 'QueuesServed')).toMatchObject({ status: 'True', reason: 'Starting' })
    const late = { ...s, patrol: seen(finding('QueueWithoutConsumer', 'queue default')) }
    expect(condition(late, 'QueuesServed')).toMatchObject({ status: 'False', reason: 'QueueWithoutConsumer' })
    expect(patrolTarget(queue).startedByBacklog).toEqual(['default'])
    expect(patrolTarget(taskQueue()).startedByBacklog).toEqual([])
  })

  it('misses nothing while suspended', () => {
    const s = situation(taskQueue({ suspend: true }), 0, {
      broker: reachable(4),
      patrol: seen(finding('QueueWithoutConsumer', 'queue default'), finding('BrokerNotPersistent', 'broker')),
    })
    expect(condition(s, 'QueuesServed')).toMatchObject({ status: 'True', reason: 'Suspended' })
    expect(statusOf(s).status.patrol?.findings.map(({ code }) => code)).toEqual(['BrokerNotPersistent'])
  })
})

describe('SchedulesOnTime', () => {
  const queue = taskQueue({ beat: beat({ schedules: [schedule({ name: 'a', everySeconds: 60 })] }) })
  const late = (code: FindingCode, changes: Partial<Situation> = {}): Situation =>
    situation(queue, 2, { beatPod, patrol: seen(finding(code, 'schedule a')), ...changes })

  it.each([['ScheduleMissing'], ['ScheduleOverdue'], ['TwoBeats']] as const)(
    'is False for %s, and costs Ready',
    (code) => {
      expect(condition(late(code), 'SchedulesOnTime')).toMatchObject({ status: 'False', reason: code })
      expect(condition(late(code), 'Ready')).toMatchObject({ status: 'False', reason: code })
    },
  )

  it('is False for a task that waits, which is backlog and costs no readiness', () => {
    expect(condition(late('ScheduleNotRun'), 'SchedulesOnTime')).toMatchObject({ status: 'False' })
    expect(condition(late('ScheduleNotRun'), 'Ready').status).toBe('True')
  })

  it("leaves the beat Pod's own reason to Ready", () => {
    const gone = late('ScheduleOverdue', { beatPod: undefined })
    expect(condition(gone, 'Ready').reason).toBe(condition(gone, 'BeatReady').reason)
  })
})

describe('what is not known', () => {
  const before = taskQueue()
  before.status = {
    patrol: {
      findings: [{ code: 'ConsumerStalled', severity: 'critical', subject: 'queue default', message: 'As before.' }],
    },
    deadLetters: { count: 7 },
  }

  it('is shown as nothing: neither as what was found before nor as nothing found', () => {
    const { status } = statusOf(situation(before, 2, { patrol: blind }))
    expect(status).not.toHaveProperty('patrol')
    expect(status).not.toHaveProperty('deadLetters')
    expect(statusOf(situation(before, 2, { patrol: seen() })).status.patrol).toEqual({ findings: [] })
    const away: BrokerObservation = { reachable: false, reason: 'Unreachable', message: 'No answer.' }
    expect(statusOf(situation(before, 2, { patrol: seen(), broker: away })).status).not.toHaveProperty('patrol')
  })

  it('stays as it was until patrol has looked twice', () => {
    const s = situation(before, 2)
    expect(statusOf(s).status).toMatchObject({ patrol: before.status?.patrol, deadLetters: { count: 7 } })
    expect(condition(s, 'QueuesServed')).toMatchObject({ status: 'False', reason: 'ConsumerStalled' })
  })

  it('of a part costs nothing else', () => {
    const s = situation(taskQueue(), 2, {
      patrol: seen(finding('Unknown', 'eviction policy of the broker', 'unknown')),
    })
    expect(condition(s, 'QueuesServed').status).toBe('True')
    expect(condition(s, 'Ready').status).toBe('True')
    expect(statusOf(s).status.patrol?.findings).toMatchObject([{ code: 'Unknown', severity: 'unknown' }])
  })
})

describe('the list in status', () => {
  it('is bounded, and counts the rest', () => {
    const many = Array.from({ length: 50 }, (_, i) => finding('ScheduleOverdue', `schedule ${i}`))
    const { patrol, deadLetters } = statusOf(situation(taskQueue(), 2, { patrol: seen(...many) })).status
    expect(patrol?.findings).toHaveLength(20)
    expect(patrol?.more).toBe(30)
    expect(deadLetters).toEqual({ count: 3, newestAt: '2027-01-15T08:00:00Z' })
  })
})

describe('Events', () => {
  const told = (code: string, severity: string): ToldFinding => ({
    code,
    severity,
    subject: 'broker',
    message: 'Saw it.',
  })
  const notes: EventNote[] = []
  const recorder = { record: (_about: unknown, note: EventNote) => notes.push(note) } as unknown as EventRecorder
  const after = (events: PatrolEvents, queue: TaskQueue, findings: ToldFinding[] | undefined): string[] => {
    notes.length = 0
    events.tell(queue, findings)
    return notes.map(({ type, reason }) => `${type} ${reason}`)
  }

  it('are of what appears and of what is gone, and not of what can not be seen or a condition tells', () => {
    const [events, queue] = [new PatrolEvents(recorder), taskQueue()]
    const persistent = told('BrokerNotPersistent', 'critical')
    expect(after(events, queue, [persistent, told('ConsumerStalled', 'critical')])).toEqual([
      'Warning BrokerNotPersistent',
    ])
    expect(after(events, queue, [persistent])).toEqual([])
    expect(after(events, queue, undefined)).toEqual([])
    expect(after(events, queue, [persistent, told('ConsumerIdle', 'notice'), told('Unknown', 'unknown')])).toEqual([
      'Normal ConsumerIdle',
      'Normal PatrolUnknown',
    ])
    expect(after(events, queue, [])).toEqual(['Normal PatrolCleared', 'Normal PatrolCleared', 'Normal PatrolCleared'])
  })

  it('are not told again by a new leader', () => {
    const queue = taskQueue()
    queue.status = { patrol: { findings: [told('BrokerNotPersistent', 'critical')] } }
    expect(after(new PatrolEvents(recorder), queue, [told('BrokerNotPersistent', 'critical')])).toEqual([])
  })
})
