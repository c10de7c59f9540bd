import { describe, expect, it } from 'vitest'
import { desiredOf } from '../../../src/operator/desired/index.ts'
import type { BrokerObservation, PodPresence } from '../../../src/operator/inspect/observation.ts'
import type { Condition, LiveDeployment, LivePod } from '../../../src/operator/objects.ts'
import { schedulesHash } from '../../../src/operator/desired/schedules.ts'
import type { Situation } from '../../../src/operator/situation.ts'
import { failedStatus, statusOf } from '../../../src/operator/status.ts'
import type { TaskQueue } from '../../../src/operator/taskqueue.ts'
import { beat, schedule, taskQueue } from '../../fixtures/taskqueues.ts'

const now = new Date('2026-01-01T00:00:00Z')
const observed = {
  operatorImage: 'op:1',
  companionImage: 'op:1',
  allowPrivilegedPods: false,
  allowDiscipline: false,
  provenImages: new Set<string>(),
  workersWanted: true,
}

const deployment = (ready: number, replicas = 2): LiveDeployment => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'orders-default', namespace: 'demo', uid: 'd', generation: 1 },
  spec: { replicas, selector: {}, template: { spec: { containers: [] } } },
  status: { observedGeneration: 1, replicas, updatedReplicas: replicas, readyReplicas: ready },
})
const pod = (name: string, status: NonNullable<LivePod['status']>, labels: Record<string, string> = {}): LivePod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'demo', uid: `uid-${name}`, labels },
  spec: { containers: [], nodeName: 'node-1' },
  status,
})
const readyStatus = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] }
const presence = (podName: string, offsetSeconds: number | null): PodPresence => ({
  podUid: `uid-${podName}`,
  kind: 'companion',
  offsetSeconds,
  busySlots: 0,
  slots: 0,
  detail: {},
})
const reachable = (waiting = 0, entries: PodPresence[] = []): BrokerObservation => ({
  reachable: true,
  queues: new Map([['default', { waiting, inFlight: 0, parked: 0 }]]),
  foreignInFlight: 0,
  presence: entries,
})

function situation(queue: TaskQueue, changes: Partial<Situation> = {}): Situation {
  return {
    queue,
    desired: desiredOf(queue, observed),
    deployments: new Map([['orders-default', deployment(2)]]),
    rolling: new Set(),
    pods: [],
    beatPod: undefined,
    beatHistory: { restarts: 0 },
    broker: reachable(),
    patrol: undefined,
    refused: [],
    scales: new Map([['default', { replicas: 2, why: '' }]]),
    disciplineAllowed: false,
    now,
    ...changes,
  }
}

function condition(s: Situation, type: string): Condition {
  const found = statusOf(s).status.conditions?.find((c) => c.type === type)
  if (!found) throw new Error(`there is no condition ${type}`)
  return found
}

describe('Ready', () => {
  it('is True when every part is', () => {
    const { status } = statusOf(situation(taskQueue()))
    expect(status).toMatchObject({ observedGeneration: 1, workers: '2/2', backlog: 0, beat: { state: 'None' } })
    expect(condition(situation(taskQueue()), 'Ready')).toMatchObject({
      status: 'True',
      reason: 'AllPartsReady',
      observedGeneration: 1,
    })
  })

  it('says the reason of the part that is not', () => {
    const s = situation(taskQueue(), {
      broker: { reachable: false, reason: 'Unreachable', message: 'No answer from redis.' },
    })
    expect(condition(s, 'Ready')).toMatchObject({ status: 'False', reason: 'Unreachable' })
    expect(condition(s, 'BrokerReachable').message).toContain('Workers are left as they are')
    expect(statusOf(s).status).not.toHaveProperty('backlog')
  })

  it('is Unknown, not False, before anything was asked', () => {
    expect(condition(situation(taskQueue(), { broker: undefined }), 'Ready')).toMatchObject({
      status: 'Unknown',
      reason: 'NotYetAsked',
    })
  })

  it('tells what the API server refused', () => {
    const s = situation(taskQueue(), { refused: ['Deployment orders-default was refused: exceeded quota.'] })
    expect(condition(s, 'Ready')).toMatchObject({
      status: 'False',
      reason: 'ApplyRefused',
      message: expect.stringContaining('exceeded quota') as string,
    })
  })

  it('is not lost over a clock', () => {
    const pods = [pod('p', readyStatus)]
    const s = situation(taskQueue(), { pods, broker: reachable(0, [presence('p', 90)]) })
    expect(condition(s, 'ClockSynchronized').status).toBe('False')
    expect(condition(s, 'Ready').status).toBe('True')
  })
})

describe('a condition', () => {
  it('keeps its transition time while its status stays', () => {
    const earlier = '2025-12-31T00:00:00Z'
    const queue = taskQueue()
    queue.status = {
      conditions: [
        { type: 'Ready', status: 'True', reason: 'AllPartsReady', message: '', lastTransitionTime: earlier },
        { type: 'WorkersAvailable', status: 'False', reason: 'Starting', message: '', lastTransitionTime: earlier },
      ],
    }
    expect(condition(situation(queue), 'Ready').lastTransitionTime).toBe(earlier)
    expect(condition(situation(queue), 'WorkersAvailable').lastTransitionTime).toBe('2026-01-01T00:00:00Z')
  })
})

describe('WorkersAvailable', () => {
  const pool = { 'taskqueue.dev/pool': 'default' }

  it('gives a pod that does not start its own reason', () => {
    const waiting = { reason: 'ImagePullBackOff', message: 'Back-off pulling image "registry.example/orders:1"' }
    const broken = pod(
      'orders-default-x',
      { phase: 'Pending', containerStatuses: [{ name: 'worker', state: { waiting } }] },
      pool,
    )
    const s = situation(taskQueue(), { deployments: new Map([['orders-default', deployment(1)]]), pods: [broken] })
    expect(condition(s, 'WorkersAvailable')).toMatchObject({ status: 'False', reason: 'ImagePullBackOff' })
    expect(condition(s, 'WorkersAvailable').message).toMatch(
      /container worker of pod orders-default-x.*Back-off pulling/,
    )
    expect(statusOf(s).status.workers).toBe('1/2')
  })

  it('tells of a pod that no node can take', () => {
    const conditions = [
      { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/1 nodes: insufficient cpu' },
    ]
    const s = situation(taskQueue(), {
      deployments: new Map([['orders-default', deployment(0)]]),
      pods: [pod('orders-default-x', { phase: 'Pending', conditions }, pool)],
    })
    expect(condition(s, 'WorkersAvailable')).toMatchObject({
      reason: 'Unschedulable',
      message: expect.stringContaining('insufficient cpu') as string,
    })
  })

  it('stays True while old pods serve and new ones come', () => {
    const rolling = deployment(2)
    rolling.status = { ...rolling.status, updatedReplicas: 1, replicas: 3 }
    const deployments = new Map([['orders-default', rolling]])
    const s = situation(taskQueue(), { deployments, rolling: new Set(['orders-default']) })
    expect(condition(s, 'WorkersAvailable')).toMatchObject({ status: 'True', reason: 'Rolling' })
    // What was asked for is not there yet: kubectl wait goes on waiting.
    expect(condition(s, 'Ready')).toMatchObject({ status: 'False', reason: 'Rolling' })
  })
})

describe('QueuesServed', () => {
  it('is False for a backlog that no ready worker takes from', () => {
    const s = situation(taskQueue(), {
      deployments: new Map([['orders-default', deployment(0)]]),
      broker: reachable(12),
    })
    expect(condition(s, 'QueuesServed')).toMatchObject({
      status: 'False',
      reason: 'NoConsumer',
      message: expect.stringContaining('default (12)') as string,
    })
  })
})

describe('SchedulesOnTime', () => {
  it('is False for a cron line that can not be read, with the line', () => {
    const queue = taskQueue({ beat: beat({ schedules: [schedule({ name: 'bad', cron: 'every day' })] }) })
    const found = condition(situation(queue), 'SchedulesOnTime')
    expect(found).toMatchObject({ status: 'False', reason: 'ScheduleInvalid' })
    expect(found.message).toMatch(/every day/)
    expect(found.message).toMatch(/last good schedules/)
  })
})

describe('what beat says of its schedules', () => {
  const queue = taskQueue({ beat: beat({ schedules: [schedule({ name: 'a', everySeconds: 5 })] }) })
  const beatPod = pod('orders-beat', readyStatus)
  const saying = (detail: Record<string, unknown>): Situation =>
    situation(queue, { beatPod, broker: reachable(0, [{ ...presence('orders-beat', 0), kind: 'beat', detail }]) })
  const hash = schedulesHash(desiredOf(queue, observed).schedules) ?? ''

  it('is the hash in status, so that one sees when a change has arrived', () => {
    const loaded = saying({ schedulesHash: `${hash}0123`, schedulesProblem: null })
    expect(statusOf(loaded).status.beat?.schedulesHash).toBe(hash)
    expect(condition(loaded, 'SchedulesOnTime')).toMatchObject({ status: 'True', reason: 'Loaded' })
    expect(condition(saying({ schedulesHash: 'other', schedulesProblem: null }), 'SchedulesOnTime').reason).toBe(
      'Loading',
    )
    expect(statusOf(situation(queue, { beatPod })).status.beat).not.toHaveProperty('schedulesHash')
  })

  it('are told with who fires them and when, anew every ten minutes', () => {
    const minute = (n: number): number => Date.UTC(2026, 0, 1, 12, n)
    const detail = (n: number): Record<string, unknown> => ({
      ...{ schedulesHash: hash, schedulesProblem: null, leaseHolder: 'orders-beat' },
      ...{ lastTickAt: minute(n), lastFiredAt: minute(n) - 1000, nextRunAt: minute(n) + 5000 },
    })
    const first = statusOf(saying(detail(1))).status.beat
    expect(first).toMatchObject({
      leaseHolder: 'orders-beat',
      lastTickTime: '2026-01-01T12:01:00Z',
      lastRunTime: '2026-01-01T12:00:59Z',
      nextRunTime: '2026-01-01T12:01:05Z',
    })
    const later = (n: number): unknown => {
      const s = saying(detail(n))
      return statusOf({ ...s, queue: { ...s.queue, status: { beat: first } } } as Situation).status.beat
    }
    expect(later(9)).toEqual(first)
    expect(later(10)).toMatchObject({ lastTickTime: '2026-01-01T12:10:00Z', nextRunTime: '2026-01-01T12:10:05Z' })
    // Out of range, or nothing at all: no time is claimed.
    expect(statusOf(saying({ lastTickAt: 1e300, nextRunAt: null })).status.beat).not.toHaveProperty('lastTickTime')
  })

  it('costs Ready when they send a task that no worker of the queue knows', () => {
    const labels = { 'taskqueue.dev/pool': 'default' }
    const pods = [pod('a', readyStatus, labels), pod('b', readyStatus, labels), pod('other', readyStatus)]
    const knowing = (entries: Record<string, unknown[]>, changes: Partial<Situation> = {}, spec = {}): string => {
      const told = Object.entries(entries).map(([name, tasks]) => ({ ...presence(name, 0), detail: { tasks } }))
      const one = schedule({ name: 'a', task: 'reports.nightly', everySeconds: 5, ...spec })
      const s = { beatPod, pods, broker: reachable(0, told), ...changes }
      return condition(situation(taskQueue({ beat: beat({ schedules: [one] }) }), s), 'SchedulesOnTime').message
    }
    const says = 'Schedule a sends reports.nightly into queue default, and no worker of pool default knows such a task'
    expect(knowing({ a: ['x'], b: ['y'] })).toContain(says)
    expect(knowing({ a: ['x'], b: ['reports.nightly'] })).not.toContain('knows such a task')
    // Nobody has said, another's queue, another TaskQueue's pod, a pool that is being replaced: nothing is claimed.
    expect(knowing({})).not.toContain('knows such a task')
    expect(knowing({ other: ['x'] })).not.toContain('knows such a task')
    expect(knowing({ a: ['x'] }, {}, { task: 'celery.backend_cleanup' })).not.toContain('knows such a task')
    expect(knowing({ a: ['x'] }, {}, { queue: 'elsewhere' })).not.toContain('knows such a task')
    expect(knowing({ a: ['x'] }, { rolling: new Set(['orders-default']) })).not.toContain('knows such a task')
    expect(knowing({ a: ['x'] }, { broker: { reachable: false, reason: 'Unreachable', message: 'x' } })).not.toContain(
      'knows such a task',
    )
  })

  it('costs Ready when beat can not read them', () => {
    const broken = saying({ schedulesHash: 'other', schedulesProblem: 'two schedules are named a' })
    expect(condition(broken, 'SchedulesOnTime')).toMatchObject({ status: 'False', reason: 'BeatRefusedSchedules' })
    expect(condition(broken, 'Ready').message).toContain('two schedules are named a')
  })

  it('costs Ready when beat can not fire one of them, or not write its volume', () => {
    const failing = saying({ schedulesHash: hash, failing: { a: 'the queue is no list' } })
    expect(condition(failing, 'SchedulesOnTime')).toMatchObject({
      status: 'False',
      reason: 'ScheduleFailing',
      message: 'Schedule a can not be fired: the queue is no list.',
    })
    const unwritable = saying({ schedulesHash: hash, failing: {}, scheduleFileProblem: 'the disk is full' })
    expect(condition(unwritable, 'SchedulesOnTime')).toMatchObject({
      status: 'False',
      reason: 'ScheduleFileUnwritable',
      message: 'Beat goes on without its volume: the disk is full.',
    })
  })
})

describe('BeatReady', () => {
  const queue = taskQueue({ beat: beat() })

  it('is True with a ready Pod', () => {
    const s = situation(queue, { beatPod: pod('orders-beat', readyStatus) })
    expect(condition(s, 'BeatReady').status).toBe('True')
    expect(statusOf(s).status.beat).toMatchObject({ state: 'Ready', pod: 'orders-beat' })
  })

  it('tells what to do about a Pod that will not go', () => {
    const stuck = pod('orders-beat', readyStatus)
    stuck.metadata.deletionTimestamp = '2025-12-31T23:59:00Z'
    const found = condition(situation(queue, { beatPod: stuck }), 'BeatReady')
    expect(found).toMatchObject({ status: 'False', reason: 'NodeUnreachable' })
    expect(found.message).toContain('node.kubernetes.io/out-of-service')
  })

  it('names the finalizers that keep a Pod whose containers have ended', () => {
    const ended = (state: object) =>
      pod('orders-beat', { phase: 'Running', containerStatuses: [{ name: 'beat', state: state }] })
    const held = ended({ terminated: { exitCode: 0 } })
    held.metadata.deletionTimestamp = '2025-12-31T23:59:00Z'
    held.metadata.finalizers = ['example.org/hold']
    const found = condition(situation(queue, { beatPod: held }), 'BeatReady')
    expect(found).toMatchObject({ status: 'False', reason: 'HeldByFinalizer' })
    expect(found.message).toContain('example.org/hold')
    // While something runs nobody knows that it has ended: the node is what matters.
    const alive = { ...held, status: ended({ running: {} }).status ?? {} }
    expect(condition(situation(queue, { beatPod: alive }), 'BeatReady').reason).toBe('NodeUnreachable')
  })

  it('tells of a node that went silent before anything is deleted', () => {
    const silent = pod('orders-beat', {
      phase: 'Running',
      conditions: [
        { type: 'Ready', status: 'False' },
        { type: 'ContainersReady', status: 'True' },
      ],
      containerStatuses: [{ name: 'beat', ready: true }],
    })
    expect(condition(situation(queue, { beatPod: silent }), 'BeatReady').reason).toBe('NodeUnreachable')
    // A companion that crashes, and a gate that is not passed, are no dead node.
    const crashing = pod('orders-beat', {
      phase: 'Running',
      conditions: [
        { type: 'Ready', status: 'False', reason: 'ContainersNotReady' },
        { type: 'ContainersReady', status: 'False' },
      ],
      containerStatuses: [{ name: 'beat', ready: true }],
      initContainerStatuses: [{ name: 'companion', ready: false, state: { waiting: { reason: 'CrashLoopBackOff' } } }],
    })
    expect(condition(situation(queue, { beatPod: crashing }), 'BeatReady').reason).toBe('CrashLoopBackOff')
    const gated = pod('orders-beat', {
      phase: 'Running',
      conditions: [
        { type: 'Ready', status: 'False', reason: 'ReadinessGatesNotReady' },
        { type: 'ContainersReady', status: 'True' },
      ],
    })
    expect(condition(situation(queue, { beatPod: gated }), 'BeatReady').reason).toBe('Starting')
  })

  it('says that beat holds its fire since clocks disagree', () => {
    const held =
      "this machine's clock is 75 s ahead of the broker's, and the limit is 60 s: correct the one that is wrong"
    const said = { ...presence('orders-beat', 75), kind: 'beat', detail: { held } } as const
    const unready = pod('orders-beat', { phase: 'Running', conditions: [{ type: 'Ready', status: 'False' }] })
    const holding = situation(queue, { beatPod: unready, broker: reachable(0, [said]) })
    const found = condition(holding, 'BeatReady')
    expect(found).toMatchObject({ status: 'False', reason: 'ClockSkewed' })
    expect(statusOf(holding).status.beat?.state).toBe('Held')
    expect(found.message).toContain(held)
  })

  it('is told apart from a change that was refused', () => {
    const refusal = { reason: 'ApplyRefused', message: 'Pod orders-beat was refused.' } as const
    const running = situation(queue, { beatPod: pod('orders-beat', readyStatus), beatRefusal: refusal })
    expect(condition(running, 'BeatReady')).toMatchObject({ status: 'True', reason: 'ChangeRefused' })
    expect(condition(running, 'Ready')).toMatchObject({ status: 'False', reason: 'ApplyRefused' })
    const gone = situation(queue, { beatRefusal: refusal })
    expect(condition(gone, 'BeatReady')).toMatchObject({ status: 'False', reason: 'ApplyRefused' })
    expect(condition(gone, 'Ready')).toMatchObject({ status: 'False', reason: 'ApplyRefused' })
  })

  it('tells when the back-off ends', () => {
    const beatHistory = { restarts: 3, notBefore: new Date('2026-01-01T00:00:08Z') }
    const found = condition(situation(queue, { beatHistory }), 'BeatReady')
    expect(found).toMatchObject({
      reason: 'BackOff',
      message: expect.stringContaining('2026-01-01T00:00:08Z') as string,
    })
  })
})

describe('a pool', () => {
  it('tells what its workers run, as far as they have said', () => {
    const labels = { 'taskqueue.dev/pool': 'default' }
    const pods = [pod('a', readyStatus, labels), pod('b', readyStatus, labels), pod('c', readyStatus)]
    const running = (podName: string, busySlots: number): PodPresence => ({
      ...presence(podName, 0),
      kind: 'worker',
      busySlots,
    })
    const poolOf = (entries: PodPresence[]) =>
      statusOf(situation(taskQueue(), { pods, broker: reachable(0, entries) })).status.pools?.[0]
    expect(poolOf([running('a', 3), running('b', 4), running('c', 50)])).toMatchObject({ busy: 7 })
    expect(poolOf([presence('a', 0)])).not.toHaveProperty('busy')
  })
})

describe('SKEW', () => {
  const pods = [pod('a', readyStatus), pod('b', readyStatus)]
  const skew = (entries: PodPresence[], broker?: BrokerObservation): string | undefined =>
    statusOf(situation(taskQueue(), { pods, broker: broker ?? reachable(0, entries) })).status.clock?.skew

  it('is Unknown, never 0, while nobody could measure', () => {
    expect(skew([presence('a', null)])).toBe('Unknown')
    expect(skew([], { reachable: false, reason: 'Unreachable', message: '' })).toBe('Unknown')
  })

  it('is the worst of all pods, with its sign', () => {
    expect(skew([presence('a', 0.004), presence('b', -90.2)])).toBe('-90s')
    expect(skew([presence('a', 0.004), presence('b', 3.4)])).toBe('+3.5s')
  })

  it('does not move by milliseconds, or status would be written all the time', () => {
    expect(skew([presence('a', 0.004)])).toBe(skew([presence('a', -0.019)]))
  })

  it('ignores who is no pod of ours', () => {
    expect(skew([presence('stranger', 500)])).toBe('Unknown')
  })

  it("tells a wrong pod's clock from a wrong broker's", () => {
    const one = situation(taskQueue(), { pods, broker: reachable(0, [presence('a', 0), presence('b', 90)]) })
    expect(condition(one, 'ClockSynchronized')).toMatchObject({
      reason: 'PodClockSkewed',
      message: expect.stringContaining('Pod b') as string,
    })
    const said = reachable(0, [presence('a', 90), presence('b', 90.1)])
    const [a = pod('a', readyStatus), b = pod('b', readyStatus)] = pods
    const apart = [a, { ...b, spec: { ...b.spec, nodeName: 'node-2' } }]
    const all = situation(taskQueue(), { pods: apart, broker: said })
    expect(condition(all, 'ClockSynchronized').reason).toBe('BrokerClockSkewed')
    // Pods of one node share its clock: they are one witness.
    expect(condition(situation(taskQueue(), { pods, broker: said }), 'ClockSynchronized').reason).toBe('PodClockSkewed')
  })
})

describe('ClockSynchronized', () => {
  const pods = [pod('a', readyStatus), pod('b', readyStatus)]
  const told = (
    podName: string,
    broker: number | null,
    ntp?: number,
    more: Partial<PodPresence> = {},
  ): PodPresence => ({
    ...presence(podName, broker),
    detail:
      ntp === undefined ? {} : { ntp: { offsetSeconds: ntp, errorSeconds: 0.01, source: 'ntp.example', stratum: 2 } },
    ...more,
  })
  const clock = (entries: PodPresence[], queue = taskQueue(), changes: Partial<Situation> = {}): Situation =>
    situation(queue, { pods, broker: reachable(0, entries), ...changes })
  const found = (...given: Parameters<typeof clock>): Condition => condition(clock(...given), 'ClockSynchronized')

  it.each([
    [
      'the broker ahead, by one pod with NTP',
      [told('a', -90, 0.01)],
      'BrokerClockSkewed',
      "The broker's clock is 90s ahead of NTP (ntp.example), as a pod measured; the limit is 60s. Correct the time on the broker's host.",
    ],
    [
      'the broker behind, by all',
      [told('a', 90, 0), told('b', 90.2, 0.1)],
      'BrokerClockSkewed',
      "The broker's clock is 90s behind NTP (ntp.example), as pods measured",
    ],
    [
      'the broker ahead, which only one container has seen yet',
      [told('a', 0, 0), told('a', -90, undefined, { kind: 'worker' }), told('b', 0, 0)],
      'BrokerClockSkewed',
      "The broker's clock is 90s ahead of NTP (ntp.example), as pod a measured; the limit is 60s.",
    ],
    [
      'one pod ahead of NTP',
      [told('a', 0, 0), told('b', 75, 75)],
      'PodClockSkewed',
      'Pod b is 75s ahead of NTP (ntp.example); the limit is 60s. Correct the time on node node-1.',
    ],
    ['a lone pod whose clock is wrong', [told('a', 75, 75)], 'PodClockSkewed', 'Pod a is 75s ahead of NTP'],
    [
      'one that says nonsense beside one that is off',
      [told('a', Number.NaN), told('b', 75)],
      'PodClockSkewed',
      'Pod b is 75s ahead of the broker',
    ],
    ['both', [told('a', 180, 90), told('b', 180, 90)], 'BrokerClockSkewed', 'Pod a is 90s ahead of NTP'],
    ['apart together', [told('a', 80, 40)], 'PodClockSkewed', 'Pod a is 80s ahead of the broker'],
    [
      'beat and a worker, each near the broker',
      [told('a', -40, undefined, { kind: 'beat' }), told('b', 40)],
      'BeatClockSkewed',
      'Pod b is 80s ahead of beat',
    ],
  ])('names who is wrong: %s', (_, entries, reason, message) => {
    expect(found(entries)).toMatchObject({
      status: 'False',
      reason,
      message: expect.stringContaining(message) as string,
    })
  })

  it('is told with every pair in status', () => {
    const { status } = statusOf(clock([told('a', -90, 0.5, { kind: 'beat' }), told('b', -88, 2)]))
    expect(status.clock).toEqual({
      skew: '-90s',
      pod: 'a',
      hostAgainstBroker: '-90s',
      hostAgainstNtp: '+2.0s',
      brokerAgainstNtp: '+90s',
      hostAgainstBeat: '+2.0s',
    })
  })

  it('comes back only well within the limit', () => {
    const before = (status: Condition['status']): TaskQueue => ({
      ...taskQueue(),
      status: {
        conditions: [
          { type: 'ClockSynchronized', status, reason: 'x', message: 'x', lastTransitionTime: '2026-01-01T00:00:00Z' },
        ],
      },
    })
    expect(found([told('a', 61)], before('True')).status).toBe('False')
    expect(found([told('a', 58)], before('True')).status).toBe('True')
    expect(found([told('a', 58)], before('False')).status).toBe('False')
    expect(found([told('a', 53)], before('False')).status).toBe('True')
  })

  it('says what is not known of NTP, and costs nobody the condition', () => {
    const entries = [told('a', 0, undefined, { detail: { ntp: null, ntpTrouble: 'no server answers' } })]
    const asked = taskQueue({
      clockSync: { mode: 'Monitor', maxSkewSeconds: 60, onSkew: 'Report', servers: ['ntp.example'] },
    })
    expect(found(entries, asked)).toMatchObject({
      status: 'True',
      reason: 'NtpUnknown',
      message: expect.stringContaining('as pod a says: no server answers.') as string,
    })
    expect(found(entries).reason).toBe('WithinLimit')
  })

  it('says that nobody disciplines the clock', () => {
    const asked = taskQueue({ clockSync: { mode: 'Discipline', maxSkewSeconds: 60, onSkew: 'Report' } })
    expect(found([told('a', 0)], asked)).toMatchObject({ status: 'True', reason: 'DisciplineNotAllowed' })
    const entries = [told('a', 0, undefined, { detail: { disciplineTrouble: 'no chronyd answers at 10.0.0.1' } })]
    expect(found(entries, asked, { disciplineAllowed: true })).toMatchObject({
      status: 'True',
      reason: 'DisciplineUnavailable',
      message: expect.stringContaining('no chronyd answers at 10.0.0.1.') as string,
    })
    expect(found([told('a', 0)], asked, { disciplineAllowed: true }).reason).toBe('WithinLimit')
  })

  it.each([{ ntp: 'x' }, { ntp: { offsetSeconds: 'x' } }, { ntp: { offsetSeconds: Number.NaN } }, { ntpTrouble: 5 }])(
    'takes %j for nothing',
    (detail) => {
      expect(found([told('a', 0, undefined, { detail })]).reason).toBe('WithinLimit')
    },
  )
})

describe('tasks beyond their time', () => {
  const stuck = (detail: Record<string, unknown>): Condition =>
    condition(
      situation(taskQueue(), {
        pods: [pod('a', readyStatus)],
        broker: reachable(0, [{ ...presence('a', 0), detail }]),
      }),
      'WorkersAvailable',
    )

  it('are told with their pod, and cost nobody the condition', () => {
    const told = stuck({ stuck: [{ task: 'reports.build', id: 'id-1', seconds: 700 }] })
    expect(told).toMatchObject({ status: 'True', reason: 'TasksBeyondTheirTime' })
    expect(told.message).toContain('Beyond maxTaskSeconds run reports.build (id-1) in pod a.')
    // A status that counted seconds would be written at every look.
    expect(stuck({ stuck: [{ task: 'reports.build', id: 'id-1', seconds: 800 }] }).message).toBe(told.message)
  })

  it.each([{ stuck: 'x' }, { stuck: [null, 5, { id: 'x' }] }, { stuck: [] }])('are none in %j', (detail) => {
    expect(stuck(detail).reason).toBe('AllReady')
  })
})

describe('the visibility timeout', () => {
  const celery = (visibilityTimeoutSeconds: number, engine: 'Celery' | 'Node' = 'Celery'): TaskQueue =>
    taskQueue({ engine, broker: { url: 'redis://redis:6379/0', visibilityTimeoutSeconds } })
  const workers = (queue: TaskQueue, offset = 0): Condition =>
    condition(
      situation(queue, { pods: [pod('a', readyStatus)], broker: reachable(0, [presence('a', offset)]) }),
      'WorkersAvailable',
    )

  it('is warned of when the longest task, its end and the skew reach it', () => {
    // The fixture's pool has tasks of 600 s.
    expect(workers(celery(630))).toMatchObject({ status: 'True', reason: 'VisibilityTimeoutShort' })
    expect(workers(celery(631)).reason).toBe('AllReady')
    expect(workers(celery(631), -1.2).message).toContain('above 632s')
  })

  it("is nothing to Node's workers, which renew what they hold", () => {
    expect(workers(celery(60, 'Node')).reason).toBe('AllReady')
  })
})

describe('a message', () => {
  it('tells some of very many problems, and how many more there are', () => {
    const schedules = Array.from({ length: 400 }, (_, n) => schedule({ name: `s${n}`, cron: `99 ${'x'.repeat(150)}` }))
    const { message } = condition(situation(taskQueue({ beat: beat({ schedules }) })), 'SchedulesOnTime')
    expect(message).toContain('And 390 more.')
    expect(message.length).toBeLessThan(10_000)
  })

  it('is never so long that the whole status is refused', () => {
    const s = situation(taskQueue(), { refused: ['x'.repeat(100_000)] })
    expect(condition(s, 'Ready').message.length).toBe(8_192)
    const wide = condition(situation(taskQueue(), { refused: ['x'.repeat(8_190) + '😀😀'] }), 'Ready').message
    expect(wide.isWellFormed()).toBe(true)
  })
})

describe('a reconcile that fails', () => {
  it('costs Ready, and leaves the rest of status as it was', () => {
    const before = statusOf(situation(taskQueue())).status
    const failed = failedStatus({ ...taskQueue(), status: before }, new Error('no room'), now)
    expect(failed.conditions?.[0]).toMatchObject({ type: 'Ready', status: 'False', reason: 'ReconcileFailed' })
    expect(failed.conditions?.[0]?.message).toContain('no room')
    expect(failed.conditions?.slice(1)).toEqual(before.conditions?.slice(1))
    expect(failed.workers).toBe(before.workers)
  })
})

describe('Suspended', () => {
  const queue = taskQueue({ suspend: true, beat: beat() })
  const idle = {
    deployments: new Map([['orders-default', deployment(0, 0)]]),
    scales: new Map([['default', { replicas: 0, why: '', before: 2 }]]),
  }

  it('is True when the last pod is gone, and that is what was asked for', () => {
    const s = situation(queue, idle)
    expect(condition(s, 'Suspended').status).toBe('True')
    expect(condition(s, 'Ready')).toMatchObject({ status: 'True', reason: 'Suspended' })
    expect(statusOf(s).status.pools).toMatchObject([{ name: 'default', wanted: 0, suspendedReplicas: 2 }])
  })

  it('is False while pods finish what they run', () => {
    const s = situation(queue, { ...idle, pods: [pod('orders-default-x', readyStatus)] })
    expect(condition(s, 'Suspended')).toMatchObject({ status: 'False', reason: 'Draining' })
    expect(condition(s, 'Ready')).toMatchObject({ status: 'False', reason: 'Draining' })
  })

  it('does not say that beat is stopped while its Pod is there', () => {
    const s = situation(queue, { ...idle, beatPod: pod('orders-beat', readyStatus) })
    expect(condition(s, 'BeatReady').reason).toBe('Stopping')
    expect(condition(s, 'Suspended').status).toBe('False')
  })
})
