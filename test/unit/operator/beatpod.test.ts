import { describe, expect, it } from 'vitest'
import { nextBeatAction, type BeatSituation } from '../../../src/operator/beatpod.ts'
import { beatPod } from '../../../src/operator/desired/beat.ts'
import { annotationKeys } from '../../../src/operator/desired/names.ts'
import type { LivePod } from '../../../src/operator/objects.ts'
import { beat, schedule, taskQueue } from '../../fixtures/taskqueues.ts'

const inputs = { operatorImage: 'op:1', companionImage: 'op:1', allowDiscipline: false }
const queue = taskQueue({ beat: beat() })
const desired = beatPod(queue, beat(), 'app:1', inputs, undefined)
const now = new Date('2026-01-01T00:00:00Z')

const live = (
  changes: Partial<LivePod['metadata']> = {},
  status: LivePod['status'] = { phase: 'Running' },
): LivePod => ({
  ...(desired as unknown as LivePod),
  metadata: { ...desired.metadata, uid: 'pod-1', ...changes },
  status,
})
const situation = (changes: Partial<BeatSituation>): BeatSituation => ({
  queueUid: 'uid-orders',
  desired,
  live: undefined,
  history: { restarts: 0 },
  now,
  ...changes,
})

describe('the one beat Pod', () => {
  it('is made when there is none', () => {
    expect(nextBeatAction(situation({}))).toMatchObject({ do: 'create', history: { restarts: 0, lastCreated: now } })
  })

  it('is left alone while it is as it should be', () => {
    expect(nextBeatAction(situation({ live: live() }))).toEqual({ do: 'nothing' })
  })

  it('is never made beside one that still ends', () => {
    expect(nextBeatAction(situation({ live: live({ deletionTimestamp: '2025-12-31T00:00:00Z' }) }))).toMatchObject({
      do: 'wait',
    })
  })

  it('is deleted, by its UID, when the spec changed', () => {
    const old = live({ annotations: { ...desired.metadata.annotations, [annotationKeys.specHash]: 'other' } })
    expect(nextBeatAction(situation({ live: old }))).toMatchObject({
      do: 'delete',
      uid: 'pod-1',
      history: { restarts: 0 },
    })
  })

  it.each(['Failed', 'Succeeded'])('is made anew when it %s, later and later up to five minutes', (phase) => {
    const ended = live({}, { phase, reason: 'Evicted' })
    const first = nextBeatAction(situation({ live: ended, history: { restarts: 0, lastCreated: now } }))
    expect(first).toMatchObject({ do: 'delete', history: { restarts: 1, notBefore: new Date(now.getTime() + 1000) } })
    const tenth = nextBeatAction(situation({ live: ended, history: { restarts: 20, lastCreated: now } }))
    expect(tenth).toMatchObject({ history: { restarts: 21, notBefore: new Date(now.getTime() + 300_000) } })
  })

  it('begins the back-off anew after a long life', () => {
    const history = { restarts: 9, lastCreated: new Date(now.getTime() - 700_000) }
    expect(nextBeatAction(situation({ live: live({}, { phase: 'Failed' }), history }))).toMatchObject({
      history: { restarts: 1 },
    })
  })

  it('waits out the back-off', () => {
    const history = { restarts: 3, notBefore: new Date(now.getTime() + 4000) }
    expect(nextBeatAction(situation({ history }))).toMatchObject({ do: 'wait', forMs: 4000 })
    expect(nextBeatAction(situation({ history, now: new Date(now.getTime() + 4001) }))).toMatchObject({
      do: 'create',
      history: { restarts: 3 },
    })
  })

  it('keeps the image of an older operator while it works, and drops it when it fails', () => {
    const upgraded = beatPod(
      queue,
      beat(),
      'app:1',
      { operatorImage: 'op:2', companionImage: 'op:2', allowDiscipline: false },
      undefined,
    )
    expect(nextBeatAction(situation({ desired: upgraded, live: live() }))).toEqual({ do: 'nothing' })
    const waiting = { reason: 'ImagePullBackOff' }
    const failing = live({}, { phase: 'Pending', containerStatuses: [{ name: 'beat', state: { waiting } }] })
    expect(nextBeatAction(situation({ desired: upgraded, live: failing }))).toMatchObject({
      do: 'delete',
      uid: 'pod-1',
    })
    expect(nextBeatAction(situation({ live: failing }))).toEqual({ do: 'nothing' })
  })

  it('does not touch a stranger of the same name', () => {
    expect(nextBeatAction(situation({ live: live({ ownerReferences: [] }) }))).toMatchObject({ do: 'refuse' })
  })

  it('is deleted when no beat is wanted', () => {
    expect(nextBeatAction(situation({ desired: undefined, live: live() }))).toMatchObject({ do: 'delete' })
    expect(nextBeatAction(situation({ desired: undefined }))).toEqual({ do: 'nothing' })
  })

  it('gets back a label that was taken away, in place', () => {
    const { labels } = desired.metadata
    const action = nextBeatAction(situation({ live: live({ labels: {} }) }))
    expect(action).toEqual({ do: 'relabel', labels, annotations: {} })
  })
})

describe('the hash of its meaning', () => {
  const hashOf = (pod: typeof desired): string | undefined => pod.metadata.annotations?.[annotationKeys.specHash]

  it('does not change with the image of a new operator', () => {
    const upgraded = beatPod(
      queue,
      beat(),
      'app:1',
      { operatorImage: 'op:2', companionImage: 'op:2', allowDiscipline: false },
      undefined,
    )
    expect(hashOf(upgraded)).toBe(hashOf(desired))
    expect(upgraded.spec.containers[0]?.image).toBe('op:2')
  })

  it('changes with the spec', () => {
    expect(
      hashOf(beatPod(queue, beat({ resources: { limits: { memory: '1Gi' } } }), 'app:1', inputs, undefined)),
    ).not.toBe(hashOf(desired))
  })

  it('does not change with the schedules, which the ConfigMap brings', () => {
    const more = beat({ schedules: [schedule({ name: 'a', everySeconds: 5 })] })
    expect(hashOf(beatPod(taskQueue({ beat: more }), more, 'app:1', inputs, undefined))).toBe(hashOf(desired))
  })
})
