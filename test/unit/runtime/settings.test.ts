// TASKQUEUE_* variables: defaults, ranges, and messages that name the variable.
import { describe, expect, it } from 'vitest'
import { UsageError } from '../../../src/runtime/errors.ts'
import { readSettings } from '../../../src/runtime/settings.ts'

describe('readSettings', () => {
  it('has the documented defaults', () => {
    expect(readSettings({})).toMatchObject({
      brokerUrl: 'redis://127.0.0.1:6379/0',
      resultUrl: 'redis://127.0.0.1:6379/0',
      defaultQueue: 'celery',
      queues: ['celery'],
      environment: 'Production',
      concurrency: 8,
      visibilityTimeoutSeconds: 3600,
      healthPort: 9808,
      maxRetries: 3,
      retryBackoffSeconds: 60,
      maxPayloadBytes: 65_536,
      acksLate: true,
      keyPrefix: '',
    })
  })

  it('lets results follow the broker, and queues the default queue', () => {
    const settings = readSettings({ TASKQUEUE_BROKER_URL: 'redis://broker/1', TASKQUEUE_DEFAULT_QUEUE: 'orders' })
    expect(settings).toMatchObject({ resultUrl: 'redis://broker/1', queues: ['orders'] })
  })

  it('takes an empty variable for an unset one', () => {
    expect(readSettings({ TASKQUEUE_QUEUES: '', TASKQUEUE_CONCURRENCY: '' })).toMatchObject({
      queues: ['celery'],
      concurrency: 8,
    })
  })

  it('reads lists, without doubles and spaces', () => {
    expect(readSettings({ TASKQUEUE_QUEUES: ' a, b,a ,' }).queues).toEqual(['a', 'b'])
  })

  it.each([
    ['TASKQUEUE_CONCURRENCY', '0'],
    ['TASKQUEUE_CONCURRENCY', '2.5'],
    ['TASKQUEUE_CONCURRENCY', '0x10'],
    ['TASKQUEUE_CONCURRENCY', 'many'],
    ['TASKQUEUE_HEALTH_PORT', '70000'],
    ['TASKQUEUE_VISIBILITY_TIMEOUT', '-1'],
    ['TASKQUEUE_ENVIRONMENT', 'test'],
    ['TASKQUEUE_LOG_LEVEL', 'verbose'],
    ['TASKQUEUE_QUEUES', ','],
    ['TASKQUEUE_QUEUES', 'a b'],
    ['TASKQUEUE_DEFAULT_QUEUE', 'a{b}'],
    ['TASKQUEUE_ACKS_LATE', 'yes'],
  ])('refuses %s=%s, naming it and the value', (variable, value) => {
    const read = (): unknown => readSettings({ [variable]: value })
    expect(read).toThrow(UsageError)
    expect(read).toThrow(variable)
    expect(read).toThrow(JSON.stringify(value === '2.5' ? '2.5' : value))
  })
})
