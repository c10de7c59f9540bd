// TaskQueues on the real cluster, installed by Helm as a user would: jobs run, pods come back, faults are told.

import { setTimeout as delay } from 'node:timers/promises'
import { TaskApp } from '@taskqueue/runtime'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OPERATOR_NAMESPACE, RELEASE } from '../../deploy/demo/install.ts'
import { PortForward } from '../../deploy/demo/portforward.ts'
import { eventually } from '../fixtures/eventually.ts'
import type { KubeObject, LivePod } from '../../src/operator/objects.ts'
import type { TaskQueue } from '../../src/operator/taskqueue.ts'
import { NAMESPACE } from './cluster.ts'
import { condition, inE2e, kubectl, patchSpec, pod, queue } from './scene.ts'

let forward: PortForward
let app: TaskApp

async function connect(): Promise<void> {
  forward = await PortForward.open(kubectl, NAMESPACE, 'service/redis', 6379)
  app = new TaskApp({ name: 'e2e', brokerUrl: `redis://:demo-only@127.0.0.1:${forward.port}/0` })
}

async function disconnect(): Promise<void> {
  await app.close()
  forward.close()
}

beforeAll(connect)
afterAll(disconnect)

async function workers(name: string): Promise<LivePod[]> {
  const selector = `taskqueue.dev/taskqueue=${name},taskqueue.dev/pool=default`
  const listed = await kubectl.json<{ items: LivePod[] }>('get', 'pods', ...inE2e, '--selector', selector)
  return listed.items.filter((item) => item.metadata.deletionTimestamp === undefined)
}

async function run(task: string, args: unknown[], queueName: string, timeoutSeconds = 60): Promise<unknown> {
  return (await app.send(task, args, { queue: queueName })).get({ timeoutSeconds })
}

describe('kubectl get taskqueues', () => {
  it('shows READY, WORKERS, BACKLOG, BEAT, SKEW and AGE', async () => {
    await eventually(
      async () => {
        const lines = (await kubectl.run('get', 'tq', ...inE2e)).trim().split('\n')
        expect(lines[0]?.split(/\s+/)).toEqual(['NAME', 'READY', 'WORKERS', 'BACKLOG', 'BEAT', 'SKEW', 'AGE'])
        expect(lines[1]).toMatch(/^orders\s+True\s+2\/2\s+\d+\s+Ready\s+<0\.25s\s/)
        expect(lines[2]).toMatch(/^reports\s+True\s+1\/1\s+\d+\s+Ready\s+<0\.25s\s/)
      },
      60_000,
      1_000,
    )
  })
})

describe('jobs', () => {
  it('of a Node producer run on Node workers', async () => {
    const results = await Promise.all(Array.from({ length: 100 }, (_, i) => run('orders.charge', [`o-${i}`], 'orders')))
    expect(results).toHaveLength(100)
    expect(results[7]).toMatchObject({ orderId: 'o-7', charged: true })
  })

  it('that fail are retried with a back-off', async () => {
    const started = performance.now()
    expect(await run('orders.charge', ['flaky', { failFirst: 2 }], 'orders')).toMatchObject({ charged: true })
    // The first pause is half a second at least, the second one second: they begin at 1 s and double, with jitter.
    expect(performance.now() - started).toBeGreaterThan(1_000)
  })

  it('of a Node producer run on the Python workers', async () => {
    expect(await run('reports.build', ['größe'], 'celery')).toEqual({ report: 'größe', pages: 3 })
  })

  it('all finish although a worker pod is deleted in the middle of them', async () => {
    const jobs = Array.from({ length: 60 }, (_, i) =>
      run('orders.charge', [`k-${i}`, { millis: i % 6 === 0 ? 5000 : 100 }], 'orders', 90),
    )
    const victim = (await workers('orders'))[0]
    await kubectl.run('delete', 'pod', victim?.metadata.name ?? '', ...inE2e, '--grace-period=0', '--force')
    expect(await Promise.all(jobs)).toHaveLength(60)
    await condition('orders', 'WorkersAvailable', 'True')
  })
})

describe('beat', () => {
  it('fires the declared schedule, every slot once, and Celery beat fires its own', async () => {
    const slots = async (): Promise<number[]> => {
      const logs = await kubectl.run(
        'logs',
        ...inE2e,
        '--selector',
        'taskqueue.dev/taskqueue=orders,taskqueue.dev/pool=default',
        '--container',
        'worker',
        '--tail=-1',
      )
      const lines = logs.split('\n').filter((line) => line.includes('swept abandoned carts'))
      return lines.map((line) => (JSON.parse(line) as { slot: number }).slot)
    }
    const seen = await eventually(
      async () => {
        const found = await slots()
        expect(found.length).toBeGreaterThanOrEqual(3)
        return found
      },
      60_000,
      1_000,
    )
    expect(new Set(seen).size).toBe(seen.length)
    expect(seen.every((slot) => slot % 5_000 === 0)).toBe(true)
    await eventually(
      async () => {
        expect(await kubectl.run('logs', 'reports-beat', ...inE2e, '--container', 'beat')).toContain(
          'Sending due task refresh',
        )
      },
      60_000,
      1_000,
    )
  })

  it('is made anew, once, with its volume, when its Pod is deleted', async () => {
    const before = await pod('orders-beat')
    await kubectl.run('delete', 'pod', 'orders-beat', ...inE2e)
    const after = await eventually(
      async () => {
        const now = await pod('orders-beat')
        expect(now.metadata.uid).not.toBe(before.metadata.uid)
        return now
      },
      60_000,
      500,
    )
    await condition('orders', 'BeatReady', 'True')
    expect((await pod('orders-beat')).metadata.uid).toBe(after.metadata.uid)
    expect(JSON.stringify(after.spec)).toContain('"claimName":"orders-beat"')
  })

  it('has restartPolicy OnFailure and no liveness probe, and can write its schedule file', async () => {
    const spec = (
      await kubectl.json<{ spec: { restartPolicy: string; containers: Record<string, unknown>[] } }>(
        'get',
        'pod',
        'reports-beat',
        ...inE2e,
      )
    ).spec
    expect(spec.restartPolicy).toBe('OnFailure')
    expect(spec.containers[0]).not.toHaveProperty('livenessProbe')
    expect(
      await kubectl.run('exec', 'reports-beat', ...inE2e, '--container', 'beat', '--', 'ls', '/var/lib/taskqueue'),
    ).toContain('celerybeat-schedule')
  })
})

describe('the companion', () => {
  it('measures the clock against the broker and answers the ping of a Celery worker', async () => {
    const name = (await workers('reports'))[0]?.metadata.name ?? ''
    const fetchFrom = (path: string): string =>
      `fetch('http://127.0.0.1:9809${path}').then(async (r) => console.log(r.status, await r.text()))`
    const ask = (path: string): Promise<string> =>
      kubectl.run('exec', name, ...inE2e, '--container', 'companion', '--', 'node', '-e', fetchFrom(path))
    expect(await ask('/ping')).toMatch(/^200 celery@.*: pong/)
    const clock = JSON.parse((await ask('/clock')).replace(/^200 /, '')) as { broker: { offsetSeconds: number } | null }
    expect(Math.abs(clock.broker?.offsetSeconds ?? Number.NaN)).toBeLessThan(1)
    expect(await ask('/livez')).toMatch(/^200/)
    expect(await ask('/metrics')).toContain('taskqueue_clock_offset_seconds')
  })
})

describe('a broker that goes away', () => {
  it('is told, restarts no worker, and the work goes on when it is back', async () => {
    const restarts = async (): Promise<number> => {
      const pods = [...(await workers('orders')), ...(await workers('reports'))]
      return pods.flatMap((p) => p.status?.containerStatuses ?? []).reduce((sum, c) => sum + (c.restartCount ?? 0), 0)
    }
    const before = await restarts()
    await disconnect()
    await kubectl.run('scale', 'deployment/redis', '--replicas=0', ...inE2e)
    const told = await condition('orders', 'BrokerReachable', 'False')
    expect(told.message).not.toContain('demo-only')
    expect(told.message).toContain('Workers are left as they are')
    await kubectl.run('scale', 'deployment/redis', '--replicas=1', ...inE2e)
    await kubectl.wait(60, 'rollout', 'status', 'deployment/redis', ...inE2e)
    await condition('orders', 'Ready', 'True', { deadlineMs: 90_000 })
    await condition('reports', 'Ready', 'True', { deadlineMs: 90_000 })
    await connect()
    expect(await run('orders.charge', ['after'], 'orders')).toMatchObject({ charged: true })
    expect(await run('reports.build', ['after'], 'celery')).toMatchObject({ report: 'after' })
    expect(await restarts()).toBe(before)
  })
})

describe('suspend', () => {
  it('drains the workers and stops beat, and comes back without losing what waits', async () => {
    await patchSpec('orders', { suspend: true })
    await condition('orders', 'Suspended', 'True', { deadlineMs: 120_000 })
    const waiting = run('orders.charge', ['later'], 'orders', 90)
    await patchSpec('orders', { suspend: false })
    expect(await waiting).toMatchObject({ orderId: 'later' })
    await condition('orders', 'Ready', 'True')
  })
})

describe('an image that can not be pulled', () => {
  it('is told with the reason of the pod, and costs neither the old workers nor beat', async () => {
    const beat = await pod('reports-beat')
    const image = (await queue('reports')).spec.image ?? ''
    const set = (value: string): Promise<string> => patchSpec('reports', { image: value })
    await set('taskqueue.local/no-such-image:1')
    const told = await eventually(
      async () => {
        const found = (await queue('reports')).status?.conditions?.find((c) => c.type === 'WorkersAvailable')
        expect(found?.reason).toMatch(/^(ErrImagePull|ImagePullBackOff)$/)
        return found
      },
      60_000,
      500,
    )
    expect(told?.message).toContain('no-such-image')
    expect((await pod('reports-beat')).metadata.uid).toBe(beat.metadata.uid)
    expect(await run('reports.build', ['still'], 'celery')).toMatchObject({ report: 'still' })
    await set(image)
    await condition('reports', 'WorkersAvailable', 'True')
  })
})

describe('the operator', () => {
  it('runs twice, leads once, and writes nothing while nothing changes', async () => {
    const lease = await kubectl.json<{ spec: { holderIdentity: string } }>(
      'get',
      'lease',
      'taskqueue-operator',
      '--namespace',
      OPERATOR_NAMESPACE,
    )
    const listed = await kubectl.json<{ items: LivePod[] }>('get', 'pods', '--namespace', OPERATOR_NAMESPACE)
    expect(listed.items.filter((p) => p.status?.phase === 'Running')).toHaveLength(2)
    expect(listed.items.map((p) => p.metadata.name)).toContain(lease.spec.holderIdentity)
    const versions = async (): Promise<string[]> => {
      const kinds = 'taskqueues,deployments,configmaps,persistentvolumeclaims'
      const objects = await kubectl.json<{ items: TaskQueue[] }>('get', kinds, ...inE2e)
      return objects.items.map(({ kind, metadata }) => `${kind}/${metadata.name}@${metadata.resourceVersion ?? ''}`)
    }
    // Absence of writes has no condition to wait for: once two looks 10 s apart agree, it is shown.
    await eventually(async () => {
      const before = await versions()
      await delay(10_000)
      expect(await versions()).toEqual(before)
    }, 60_000)
  })

  it("takes over within 20 s when the leader's pod is deleted", async () => {
    const holder = async (): Promise<string> =>
      (
        await kubectl.json<{ spec: { holderIdentity: string } }>(
          'get',
          'lease',
          'taskqueue-operator',
          '--namespace',
          OPERATOR_NAMESPACE,
        )
      ).spec.holderIdentity
    const before = await holder()
    await kubectl.run('delete', 'pod', before, '--namespace', OPERATOR_NAMESPACE, '--grace-period=0', '--force')
    await eventually(async () => expect([before, '']).not.toContain(await holder()), 20_000, 250)
    await kubectl.run('delete', 'deployment', 'orders-default', ...inE2e)
    await eventually(() => kubectl.run('get', 'deployment', 'orders-default', ...inE2e), 20_000, 500)
    await condition('orders', 'Ready', 'True', { deadlineMs: 120_000 })
  })
})

describe('the chart', () => {
  it('has a test that makes a TaskQueue and runs a job', async () => {
    const told = await kubectl.helm('test', RELEASE, '--namespace', OPERATOR_NAMESPACE, '--timeout', '150s', '--logs')
    expect(told).toContain('it ran a job')
    // Its pod stays. Nothing that selects the operator's pods may take it for one of them.
    const pods = await kubectl.run('get', 'pods', '--namespace', OPERATOR_NAMESPACE, '--output', 'name')
    expect(pods).toContain(`pod/${RELEASE}-test`)
    type Budget = KubeObject & { status: { expectedPods: number } }
    const budget = await kubectl.json<Budget>('get', 'pdb', RELEASE, '--namespace', OPERATOR_NAMESPACE)
    expect(budget.status.expectedPods).toBe(2)
  })

  it('keeps the CRD on uninstall, unless told otherwise', async () => {
    const render = (...set: string[]): Promise<string> =>
      kubectl.helm('template', 'x', 'charts/taskqueue-operator', ...set.flatMap((s) => ['--set', s]))
    expect(await render()).toContain('helm.sh/resource-policy: keep')
    expect(await render('crds.keep=false')).not.toContain('helm.sh/resource-policy')
    expect(await render('crds.install=false')).not.toContain('kind: CustomResourceDefinition')
  })

  it('grants rights in the listed namespaces only, when there are any', async () => {
    const rendered = await kubectl.helm(
      'template',
      'x',
      'charts/taskqueue-operator',
      '--skip-tests',
      '--set',
      'watchNamespaces={a,b}',
    )
    expect(rendered).not.toContain('kind: ClusterRole')
    expect(rendered.match(/^kind: Role$/gm)).toHaveLength(3)
  })

  it('refuses a value that it does not know', async () => {
    await expect(kubectl.helm('template', 'x', 'charts/taskqueue-operator', '--set', 'replica=3')).rejects.toThrow(
      /replica/,
    )
  })
})
