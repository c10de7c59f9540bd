// `kubectl taskqueue` as people call it, with kubectl finding it on the PATH, on the real cluster.

import { join } from 'node:path'
import { TaskApp } from '@taskqueue/runtime'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Kubectl } from '../../deploy/demo/kubectl.ts'
import { PortForward } from '../../deploy/demo/portforward.ts'
import type { CommandResult } from '../../deploy/local/command.ts'
import { eventually } from '../fixtures/eventually.ts'
import { NAMESPACE } from './cluster.ts'
import { condition, kubectl } from './scene.ts'

const BIN = join(import.meta.dirname, '../../node_modules/.bin')
const PATH = [BIN, join(process.execPath, '..'), kubectl.env['PATH']].join(':')
const plugin = new Kubectl({ ...kubectl.env, PATH })

let forward: PortForward
let app: TaskApp

beforeAll(async () => {
  forward = await PortForward.open(kubectl, NAMESPACE, 'service/redis', 6379)
  app = new TaskApp({ name: 'e2e', brokerUrl: `redis://:demo-only@127.0.0.1:${forward.port}/0` })
  await condition('orders', 'Ready', 'True', { deadlineMs: 120_000 })
})
afterAll(async () => {
  await app.close()
  forward.close()
})

const taskqueue = (...args: string[]): Promise<CommandResult> => plugin.attempt('taskqueue', '-n', NAMESPACE, ...args)

async function done(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await taskqueue(...args)
  expect([status, stderr.replaceAll(/^Defaulted.*\n/gm, '')]).toEqual([0, ''])
  return stdout
}

describe('kubectl taskqueue', () => {
  it('shows status and workers, as text and as JSON', async () => {
    expect(await done('status', 'orders')).toMatch(/Ready +True/)
    expect(JSON.parse(await done('status', 'orders', '-o', 'json'))).toMatchObject({ workers: '2/2' })
    const text = await done('workers', 'orders')
    expect(text.match(/^orders-default-\S+ +default +yes +Running/gm)).toHaveLength(2)
    expect(JSON.parse(await done('workers', 'reports', '-o', 'json'))).toHaveLength(1)
  })

  it('lists schedules and runs one now', async () => {
    expect(await done('schedules', 'orders')).toContain('nightly-charge')
    const { id } = JSON.parse(await done('run-now', 'orders', 'nightly-charge', '-o', 'json')) as { id: string }
    expect(await app.result(id).get({ timeoutSeconds: 30 })).toMatchObject({ orderId: 'nightly', charged: true })
  })

  it('lists dead letters and drops one', async () => {
    const { id } = await app.send('orders.nobody-has-this', [], { queue: 'orders' })
    await eventually(async () => expect((await taskqueue('dead', 'orders')).stdout).toContain(id), 30_000, 500)
    expect((await taskqueue('dead', 'orders')).status).toBe(1)
    await done('dead', 'orders', 'drop', id)
    expect((await taskqueue('dead', 'orders')).stdout).not.toContain(id)
  })

  it('patrols, and passes what it found on as its exit code', async () => {
    const { status, stdout } = await taskqueue('patrol', 'orders', '-o', 'json')
    const { needsPerson } = JSON.parse(stdout) as { needsPerson: boolean }
    expect(status).toBe(needsPerson ? 1 : 0)
  })

  it('drains, which suspends, and resumes', async () => {
    expect(await done('drain', 'orders', '--timeout', '100')).toContain('is drained')
    await condition('orders', 'Suspended', 'True')
    const { status, stderr } = await taskqueue('schedules', 'orders')
    expect([status, stderr]).toEqual([
      1,
      'TaskQueue orders has no declared beat that runs: only that knows its schedules.\n',
    ])
    await done('resume', 'orders')
    await condition('orders', 'Ready', 'True', { deadlineMs: 120_000 })
  })

  it('shows the lines of all pods, or of one component', async () => {
    expect(await done('logs', 'orders', '--component', 'beat', '--tail=5')).toMatch(/^\[pod\/orders-beat\//m)
  })

  it('says what is wrong, and how it is used', async () => {
    expect(await taskqueue('status', 'nobody')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('"nobody" not found') as string,
    })
    expect((await taskqueue('fly', 'orders')).status).toBe(2)
    expect((await taskqueue('status', 'orders', '-o', 'yaml')).status).toBe(2)
    expect(await done('completion')).toContain('status')
  })
})
