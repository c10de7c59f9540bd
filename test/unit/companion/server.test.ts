import { describe, expect, it } from 'vitest'
import { clockReport } from '../../../src/companion/clock/clockreport.ts'
import { pingAnswer } from '../../../src/companion/server.ts'
import { current, STALE_MS } from '../../../src/companion/clock/measurement.ts'
import { readSettings } from '../../../src/companion/settings.ts'

describe('the answer to a probe', () => {
  it.each([
    ['pong', { state: 'pong' } as const, 'liveness' as const, 200],
    ['pong', { state: 'pong' } as const, 'readiness' as const, 200],
    ['silence', { state: 'silent' } as const, 'liveness' as const, 503],
    ['silence', { state: 'silent' } as const, 'readiness' as const, 503],
    ['word that the pool is stuck', { state: 'stuck', why: 'all slots are held' } as const, 'liveness' as const, 503],
    ['word that the pool is stuck', { state: 'stuck', why: 'all slots are held' } as const, 'readiness' as const, 503],
    ['word that it has not started', { state: 'starting', why: 'no pidbox' } as const, 'liveness' as const, 200],
    ['word that it has not started', { state: 'starting', why: 'no pidbox' } as const, 'startup' as const, 503],
    ['word that it has not started', { state: 'starting', why: 'no pidbox' } as const, 'readiness' as const, 503],
    ['nothing, from one that can not answer', { state: 'mute', why: 'solo' } as const, 'liveness' as const, 200],
    ['nothing, from one that can not answer', { state: 'mute', why: 'solo' } as const, 'readiness' as const, 200],
  ])('after %s', (_, answer, purpose, status) => {
    expect(pingAnswer(answer, purpose, 'celery@a').status).toBe(status)
  })

  it('without a broker is unready and not dead', () => {
    const answer = { state: 'unknown', why: 'connection refused' } as const
    expect(pingAnswer(answer, 'liveness', 'celery@a').status).toBe(200)
    expect(pingAnswer(answer, 'readiness', 'celery@a').status).toBe(503)
    expect(pingAnswer(answer, 'readiness', 'celery@a').body).toContain('connection refused')
  })
})

describe('the clock', () => {
  it('is null, never 0, while unknown', () => {
    const { settings } = readSettings({})
    expect(clockReport(settings, undefined)).toEqual({
      mode: 'Monitor',
      host: null,
      broker: null,
      brokerAgainstNtp: null,
      beat: null,
      steps: { count: 0, lastSeconds: null, lastAgeSeconds: null },
    })
  })

  it('forgets a measurement that is too old', () => {
    const measurement = { offsetSeconds: 1, errorSeconds: 0.001, at: 1000 }
    expect(current(measurement, 1000 + STALE_MS)).toBe(measurement)
    expect(current(measurement, 1001 + STALE_MS)).toBeUndefined()
    expect(current(undefined, 0)).toBeUndefined()
  })
})

describe("the companion's settings", () => {
  it('never keep it from starting: a wrong one is told and replaced', () => {
    const { settings, problems } = readSettings({
      TASKQUEUE_COMPANION_CLOCK: 'Sometimes',
      TASKQUEUE_COMPANION_PORT: '99999',
      TASKQUEUE_COMPANION_MAX_TASK_SECONDS: 'long',
      TASKQUEUE_COMPANION_STALLED_SECONDS: '-1',
    })
    expect(settings).toMatchObject({ clock: 'Monitor', port: 9809, maxTaskSeconds: 0, stalledSeconds: 0 })
    expect(problems).toHaveLength(5)
    expect(problems.join()).toMatch(/Sometimes.*long.*-1.*99999/s)
  })
})
