// Which queues several TaskQueues consume on one broker.
import { describe, expect, it } from 'vitest'
import { brokerOf, sharedQueues, type Consuming } from '../../../src/operator/inspect/sharedqueues.ts'

const consuming = (name: string, queues: string[], more: { broker?: string; suspended?: boolean } = {}): Consuming => ({
  broker: more.broker ?? 'redis://redis:6379/0',
  target: { namespace: 'demo', name, queues, suspended: more.suspended ?? false },
})

const shop = consuming('shop', ['orders', 'mail'])

describe('a queue is shared', () => {
  it('with every other TaskQueue that consumes it, told once a queue', () => {
    const others = [consuming('orders', ['orders']), consuming('b', ['orders', 'mail'])]
    const found = sharedQueues(shop, [shop, ...others])
    expect(found.map(({ code, severity, subject }) => [code, severity, subject])).toEqual([
      ['QueueShared', 'notice', 'queue orders'],
      ['QueueShared', 'notice', 'queue mail'],
    ])
    expect(found[0]?.saw).toContain('TaskQueue demo/b, demo/orders consumes')
    expect(found[1]?.saw).toContain('TaskQueue demo/b consumes')
  })

  it.each([
    ['itself', [shop]],
    ['other queues', [consuming('other', ['reports'])]],
    ['another broker', [consuming('other', ['mail'], { broker: 'redis://redis:6379/1' })]],
    ['one that is suspended', [consuming('other', ['mail'], { suspended: true })]],
    ['one whose broker has not been asked', [{ ...consuming('other', ['mail']), broker: undefined }]],
  ])('not with %s', (_what, others) => {
    expect(sharedQueues(shop, others)).toEqual([])
  })

  it('not while it is suspended itself, or its broker has not been asked', () => {
    const others = [consuming('other', ['mail'])]
    expect(sharedQueues(consuming('shop', ['mail'], { suspended: true }), others)).toEqual([])
    expect(
      sharedQueues({ ...shop, broker: undefined }, [{ ...consuming('other', ['mail']), broker: undefined }]),
    ).toEqual([])
  })
})

it('a broker is the same for all of its users', () => {
  expect(brokerOf('redis://user:p%40ss@redis:6379/0')).toBe('redis://redis:6379/0')
  expect(brokerOf('rediss://:secret@redis:6379/0?a=b@c')).toBe('rediss://redis:6379/0?a=b@c')
  expect(brokerOf('redis://redis:6379/0')).toBe('redis://redis:6379/0')
})
