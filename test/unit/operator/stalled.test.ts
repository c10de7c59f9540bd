// Which pod is replaced for a stalled consumer, and when none is.
import { describe, expect, it } from 'vitest'
import type { StalledQueue } from '@taskqueue/runtime/patrol'
import type { LiveDeployment, LivePod } from '../../../src/operator/objects.ts'
import { nextReplacement, type Replaced, type StallInput, type StallPool } from '../../../src/operator/stalled.ts'

const HOUR_MS = 3_600_000

const pod = (name: string, { ready = true, createdAt = '2026-01-01T00:00:00Z' } = {}): LivePod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'demo', uid: `uid-${name}`, creationTimestamp: createdAt },
  spec: { containers: [] },
  status: { conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
})

const deployment = (replicas: number, status: LiveDeployment['status'] = {}): LiveDeployment => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'orders-p', namespace: 'demo', generation: 1 },
  spec: { replicas, selector: {}, template: { spec: { containers: [] } } },
  status: { observedGeneration: 1, replicas, ...status },
})

const pool = (pods: readonly LivePod[], changes: Partial<StallPool> = {}): StallPool => ({
  name: 'p',
  queues: ['mail'],
  deployment: deployment(pods.length),
  pods,
  moving: false,
  ...changes,
})

const worker = (podName: string, busy: number | undefined = 0): StalledQueue['workers'][number] => ({
  name: `celery@${podName}`,
  python: false,
  queues: ['mail'],
  processed: 5,
  busy,
  slots: 4,
  visibilitySeconds: undefined,
  timeLimitSeconds: undefined,
})

const queue = (workers: StalledQueue['workers'], since = 0, name = 'mail'): StalledQueue => {
  return { queue: name, since, workers }
}

const [a, b] = [pod('a'), pod('b')]

function input(changes: Partial<StallInput> = {}): StallInput {
  return {
    stalled: [queue([worker('a'), worker('b')])],
    unknown: new Set(),
    pools: [pool([a, b])],
    history: new Map(),
    stalledSeconds: 120,
    now: HOUR_MS,
    ...changes,
  }
}

const chosen = (changes: Partial<StallInput> = {}): string | undefined => {
  const step = nextReplacement(input(changes))
  return step.do === 'replace' ? step.pod.metadata.name : undefined
}

const replaced = (at: number, times: number, ...stayed: string[]): ReadonlyMap<string, Replaced> =>
  new Map([['p', { at, times, stayed: new Set(stayed.map((name) => `uid-${name}`)) }]])

describe('of a queue that stands still', () => {
  it('the pod that runs nothing goes, the oldest of several', () => {
    expect(chosen()).toBe('a')
    expect(chosen({ stalled: [queue([worker('a', 1), worker('b')])] })).toBe('b')
    const older = pod('b', { createdAt: '2025-01-01T00:00:00Z' })
    expect(chosen({ pools: [pool([a, older])] })).toBe('b')
  })

  it('one that runs something goes only where all do, the one with the least', () => {
    expect(chosen({ stalled: [queue([worker('a', 3), worker('b', 1)])] })).toBe('b')
  })

  it.each([
    ['is full: that is long work', [worker('a', 4)]],
    ['did not tell what it runs', [{ ...worker('a'), busy: undefined }]],
    ['is no pod of this TaskQueue', [worker('stranger')]],
  ])('a worker stays that %s', (_, workers) => {
    expect(chosen({ stalled: [queue(workers)] })).toBeUndefined()
  })

  it('also a pod goes that is not ready: a worker that takes nothing may say so itself', () => {
    expect(chosen({ pools: [pool([pod('a', { ready: false }), pod('b', { ready: false })])] })).toBe('a')
  })
})

describe('nothing is replaced', () => {
  it.each([['broker'], ['workers'], ['queue mail']])('while %s is not known', (subject) => {
    expect(chosen({ unknown: new Set([subject]) })).toBeUndefined()
  })

  it('but for what has nothing to do with it', () => {
    expect(chosen({ unknown: new Set(['eviction policy of the broker', 'queue other']) })).toBe('a')
  })

  it.each([
    ['pods are being replaced, or drain', { moving: true }],
    ['there is no Deployment', { deployment: undefined }],
    ['the Deployment is not seen yet', { deployment: deployment(2, { observedGeneration: 0 }) }],
    ['a pod is missing', { deployment: deployment(3) }],
    ['there is a pod too many', { deployment: deployment(2, { replicas: 3 }) }],
    ['the pool has other queues', { queues: ['other'] }],
  ])('while %s', (_, changes) => {
    expect(chosen({ pools: [pool([a, b], changes)] })).toBeUndefined()
  })
})

describe('after a replacement', () => {
  const fresh = pod('c')
  const now = 10 * HOUR_MS
  const after = (ms: number, times = 1, since = ms / 2): Partial<StallInput> => ({
    now,
    pools: [pool([b, fresh])],
    history: replaced(now - ms, times, 'b'),
    stalled: [queue([worker('b'), worker('c')], now - ms + since)],
  })

  it('the next waits for the successor, in whatever pool that is', () => {
    const late = pod('c', { ready: false })
    expect(chosen({ ...after(HOUR_MS), pools: [pool([b, late])] })).toBeUndefined()
    expect(chosen({ ...after(HOUR_MS), pools: [pool([b], { deployment: deployment(2) })] })).toBeUndefined()
    const other = pool([pod('d')], { name: 'q', queues: ['letters'] })
    const stalled = [queue([worker('d')], now, 'letters')]
    expect(chosen({ ...after(HOUR_MS), stalled, pools: [pool([b, late]), other] })).toBeUndefined()
    expect(chosen({ ...after(HOUR_MS), stalled, pools: [pool([b, fresh]), other] })).toBe('d')
  })

  it('the next has to have stood still anew', () => {
    expect(chosen(after(HOUR_MS))).toBe('b')
    expect(chosen(after(HOUR_MS, 1, 0))).toBeUndefined()
  })

  it.each([
    [1, 240_000],
    [2, 480_000],
    [4, 1_920_000],
    [5, HOUR_MS],
    [50, HOUR_MS],
  ])('number %i in a row is followed by %i ms of patience', (times, ms) => {
    expect(nextReplacement(input(after(ms - 1000, times)))).toEqual({ do: 'nothing' })
    expect(nextReplacement(input(after(ms, times)))).toMatchObject({ do: 'replace', times: times + 1 })
  })

  it('that helped for two hours the next is a first one', () => {
    expect(nextReplacement(input(after(2 * HOUR_MS, 7)))).toMatchObject({ do: 'replace', times: 1 })
  })

  it('that was refused the same pod is tried again, later', () => {
    const history = new Map<string, Replaced>([['p', { at: now, times: 1, refused: true }]])
    const stalled = [queue([worker('a'), worker('b')], now - HOUR_MS)]
    expect(nextReplacement(input({ now, history, stalled }))).toEqual({ do: 'nothing' })
    expect(chosen({ now: now + 239_999, history, stalled })).toBeUndefined()
    expect(chosen({ now: now + 240_000, history, stalled })).toBe('a')
  })
})
