// Two operators as processes on a real API server: a leader that is killed, or frozen and woken again, is replaced by the other.

import { spawn, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { tied } from '../../../deploy/local/command.ts'
import { deployments, leases } from '../../../src/operator/kube/resources.ts'
import type { KubeObject } from '../../../src/operator/objects.ts'
import { ControlPlane } from '../../fixtures/controlplane.ts'
import { eventually } from '../../fixtures/eventually.ts'

const MAIN = fileURLToPath(new URL('../../../src/operator/main.ts', import.meta.url))
/** The limit that docs/operator.md gives: a lease runs for 15 s and is looked at every 2 s. */
const TAKE_OVER_MS = 20_000

let plane: ControlPlane
let operators: { name: string; process: ChildProcess }[] = []

beforeAll(async () => {
  plane = await ControlPlane.start()
})
afterAll(() => plane.stop())
afterEach(async () => {
  const running = operators
  operators = []
  for (const { process } of running) {
    if (process.exitCode !== null || process.signalCode !== null) continue
    const gone = new Promise((resolve) => process.once('exit', resolve))
    // Told, not killed: it gives the lease up, so that the next test need not wait it out.
    process.kill('SIGTERM')
    await gone
  }
})

/** Resolves once it stands by or leads: how long a process takes to begin is not what is looked at here. */
async function startOperator(name: string): Promise<ChildProcess> {
  const [program, ...args] = tied(process.execPath, [MAIN])
  const child = spawn(program, args, {
    env: {
      PATH: process.env.PATH,
      KUBECONFIG: plane.server.kubeconfig,
      TASKQUEUE_OPERATOR_IMAGE: 'registry.example/operator:1',
      TASKQUEUE_OPERATOR_IDENTITY: name,
      TASKQUEUE_OPERATOR_PORT: '0',
    },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  operators.push({ name, process: child })
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
  await eventually(() => expect(said).toContain('Operator started'), 60_000)
  return child
}

async function leader(): Promise<string> {
  const lease = await plane.client.get<KubeObject & { spec?: { holderIdentity?: string } }>(
    leases,
    'default',
    'taskqueue-operator',
  )
  return lease?.spec?.holderIdentity ?? ''
}

async function leads(name: string, deadlineMs: number): Promise<void> {
  await eventually(async () => expect(await leader()).toBe(name), deadlineMs)
}

const written = (name: string): { name: string; spec: Record<string, unknown> } => ({
  name,
  spec: {
    engine: 'Node',
    image: 'registry.example/orders:1',
    app: './tasks.js',
    broker: { url: 'redis://127.0.0.1:1/0' },
    workers: [{ name: 'default' }],
  },
})

// Each wait has its own limit; together they are more than a test of this tier usually has.
describe('a second operator', { timeout: 120_000 }, () => {
  it('stands by, and takes over when the leader is killed', async () => {
    const first = await startOperator('one-a')
    await leads('one-a', 15_000)
    await startOperator('one-b')
    await plane.create(written('killed'))
    await eventually(() => plane.get(deployments, 'killed-default'))

    first.kill('SIGKILL')
    await leads('one-b', TAKE_OVER_MS)
    await plane.client.delete(deployments, 'demo', 'killed-default')
    await eventually(() => plane.get(deployments, 'killed-default'))
  })

  it('takes over when the leader is frozen, which ends when it wakes', async () => {
    const first = await startOperator('two-a')
    await leads('two-a', TAKE_OVER_MS)
    await startOperator('two-b')
    first.kill('SIGSTOP')
    await leads('two-b', TAKE_OVER_MS)

    first.kill('SIGCONT')
    await eventually(() => expect(first.exitCode).toBe(1), TAKE_OVER_MS)
    expect(await leader()).toBe('two-b')
  })

  it('takes over at once when the leader is told to end', async () => {
    const first = await startOperator('three-a')
    await leads('three-a', TAKE_OVER_MS)
    await startOperator('three-b')
    first.kill('SIGTERM')
    // Far below the lease's 15 s: it is given up.
    await leads('three-b', 8_000)
  })
})
