// Examples that the set-up of this tier has not applied, on the real cluster: ready, given work, and looked at as their README says.

import { TaskApp } from '@taskqueue/runtime'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { example } from '../../deploy/demo/install.ts'
import { PortForward } from '../../deploy/demo/portforward.ts'
import { eventually } from '../fixtures/eventually.ts'
import { inNamespace, NAMESPACE } from './cluster.ts'
import { condition, inE2e, kubectl, queue } from './scene.ts'

let forward: PortForward
let app: TaskApp

beforeAll(async () => {
  forward = await PortForward.open(kubectl, NAMESPACE, 'service/redis', 6379)
  app = new TaskApp({ name: 'e2e', brokerUrl: `redis://:demo-only@127.0.0.1:${forward.port}/0` })
  await kubectl.apply(inNamespace(example('shop/taskqueue', inject('images'))))
  await condition('shop', 'Ready', 'True', { deadlineMs: 120_000 })
})
afterAll(async () => {
  await app.close()
  forward.close()
  await kubectl.run('delete', 'taskqueue', 'shop', ...inE2e, '--cascade=foreground', '--timeout=60s')
})

async function run(task: string, args: unknown[], queueName: string): Promise<unknown> {
  return (await app.send(task, args, { queue: queueName })).get({ timeoutSeconds: 90 })
}

describe('the shop', () => {
  it('takes an order, and sends its mail by a pool that had no pod', async () => {
    const taken = (await run('shop.order', ['A-17', ['tea'], 'ada'], 'shop-orders')) as { mail: string }
    expect(await app.result(taken.mail).get({ timeoutSeconds: 90 })).toEqual({ to: 'ada', subject: 'Your order A-17' })
  })

  it('keeps an order that is wrong among the dead letters, and says so', async () => {
    await expect(run('shop.order', ['A-18', [], 'ada'], 'shop-orders')).rejects.toThrow(/no lines/)
    await eventually(
      async () => expect((await queue('shop')).status?.deadLetters?.count ?? 0).toBeGreaterThanOrEqual(1),
      60_000,
      1_000,
    )
  })
})
