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

/** What an HTTP server says, as JSON. */
async function ask(port: number, path: string, body?: unknown): Promise<{ status: number; said: unknown }> {
  const headers = { 'content-type': 'application/json' }
  const sent = body === undefined ? {} : { method: 'POST', headers, body: JSON.stringify(body) }
  const response = await fetch(`http://127.0.0.1:${port}${path}`, sent)
  return { status: response.status, said: await response.json() }
}

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

describe('a project of two languages', () => {
  const apis = ['mixed-node-api', 'mixed-python-api'] as const
  const forwards: PortForward[] = []
  const mixed = (): string => inNamespace(example('mixed/taskqueue', inject('images')))

  beforeAll(async () => {
    await kubectl.apply(mixed())
    for (const name of ['mixed-node', 'mixed-python']) await condition(name, 'Ready', 'True', { deadlineMs: 180_000 })
    for (const api of apis) {
      await kubectl.wait(120, 'rollout', 'status', `deployment/${api}`, ...inE2e)
      forwards.push(await PortForward.open(kubectl, NAMESPACE, `service/${api}`, 80))
    }
  })
  afterAll(async () => {
    for (const each of forwards) each.close()
    await kubectl.run(
      'delete',
      'taskqueue',
      'mixed-node',
      'mixed-python',
      ...inE2e,
      '--cascade=foreground',
      '--timeout=60s',
    )
    for (const api of apis) await kubectl.run('delete', `deployment/${api}`, `service/${api}`, ...inE2e)
  })

  it.each(apis)('%s sends to the workers of both, and reads what came of it', async (api) => {
    const port = forwards[apis.indexOf(api)]?.port ?? 0
    const wanted = [
      ['/letters', { to: 'ada', text: 'hello' }, { to: 'ada', characters: 5 }],
      ['/scores', { values: [1, 2, 6] }, { mean: 3, highest: 6 }],
    ] as const
    for (const [path, body, result] of wanted) {
      const { status, said } = await ask(port, path, body)
      expect(status).toBe(202)
      const { id } = said as { id: string }
      // Either API reads the results of both.
      for (const { port: other } of forwards)
        await eventually(
          async () => expect((await ask(other, `/results/${id}`)).said).toEqual({ state: 'SUCCESS', result }),
          30_000,
          250,
        )
    }
  })

  it.each(apis)('%s refuses what is wrong', async (api) => {
    const port = forwards[apis.indexOf(api)]?.port ?? 0
    for (const [path, body] of [
      ['/letters', { to: 'ada' }],
      ['/scores', { values: [] }],
      ['/scores', { values: ['Infinity'] }],
    ] as const) {
      const { status } = await ask(port, path, body)
      expect([400, 422]).toContain(status)
    }
  })
})
