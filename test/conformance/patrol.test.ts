// `taskqueue patrol` on queues of real Python workers: they are seen over the remote control, and what they are told is compared.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { run } from '../fixtures/command.ts'
import { startRedis, type RedisServer } from '../fixtures/redis-server.ts'
import { until } from '../fixtures/until.ts'
import { CELERY_VERSIONS, Celery, celeryBin } from './support/celery.ts'

describe.each(CELERY_VERSIONS)('Celery %s:', (version) => {
  let redis: RedisServer
  let bin: string

  beforeEach(async () => {
    bin = await celeryBin(version)
    redis = await startRedis()
  })
  afterEach(() => redis.close())

  /** `<code> <subject>` of what a patrol finds. */
  async function patrol(): Promise<string[]> {
    const args = ['patrol', '--json', '--queues', 'mail', '--watch-seconds', '2', '--stalled-seconds', '1']
    const { stdout } = await run([...args, '--timeout', '2'], { TASKQUEUE_BROKER_URL: redis.url })
    const { findings } = JSON.parse(stdout) as { findings: { code: string; subject: string }[] }
    return findings.map(({ code, subject }) => `${code} ${subject}`)
  }
  const nothing = (): Promise<true> => until('nothing is found', async () => (await patrol()).length === 0 || undefined)

  it('a queue that Python sends to has no consumer, and then a Python one', async () => {
    const celery = new Celery(bin, redis.url)
    try {
      await celery.python("add.apply_async((1, 2), queue='mail'); print(1)")
      expect(await patrol()).toEqual(['QueueWithoutConsumer queue mail'])
      await celery.worker('mail')
      await nothing()
    } finally {
      await celery.close()
    }
  })

  it('a time limit above the visibility timeout is found, and one below it is not', async () => {
    const long = new Celery(bin, redis.url, { VISIBILITY_TIMEOUT: '60', TIME_LIMIT: '600' })
    const short = new Celery(bin, redis.url, { VISIBILITY_TIMEOUT: '900', TIME_LIMIT: '600' })
    try {
      const worker = await long.worker('mail')
      expect(await patrol()).toEqual([expect.stringMatching(/^VisibilityTimeoutTooShort worker py-mail@/)])
      await worker.end()
      await short.worker('mail')
      await nothing()
    } finally {
      await Promise.all([long.close(), short.close()])
    }
  })
})
