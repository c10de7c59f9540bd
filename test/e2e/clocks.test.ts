// Clocks on the real cluster: NTP and the node's chronyd as companions see them, a broker whose clock goes 90 s ahead and back, and
// companions that are ended again and again.

import { readFileSync } from 'node:fs'
import { TaskApp } from '@taskqueue/runtime'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { PortForward } from '../../deploy/demo/portforward.ts'
import type { LivePod } from '../../src/operator/objects.ts'
import { clockShiftLibrary } from '../fixtures/clock-shift.ts'
import { eventually } from '../fixtures/eventually.ts'
import { publishedSlots } from '../fixtures/published.ts'
import { NAMESPACE } from './cluster.ts'
import { NTP_SERVER } from './timeserver.ts'
import { condition, inE2e, kubectl, pod, queue } from './scene.ts'

const { redis: redisImage } = inject('images')
let forward: PortForward
let redis: Redis
let examples: PortForward
let app: TaskApp

beforeAll(async () => {
  await kubectl.apply(JSON.stringify({ apiVersion: 'v1', kind: 'List', items: await brokerWithSettableClock() }))
  await kubectl.wait(60, 'rollout', 'status', 'deployment/skewed-redis', ...inE2e)
  await kubectl.apply(JSON.stringify(taskQueue()))
  forward = await PortForward.open(kubectl, NAMESPACE, 'service/skewed-redis', 6379)
  redis = new Redis({ port: forward.port, host: '127.0.0.1' })
  redis.on('error', () => undefined)
  examples = await PortForward.open(kubectl, NAMESPACE, 'service/redis', 6379)
  app = new TaskApp({ name: 'e2e-clocks', brokerUrl: `redis://:demo-only@127.0.0.1:${examples.port}/0` })
  await condition('clocks', 'Ready', 'True', { deadlineMs: 120_000 })
})
afterAll(async () => {
  await app.close()
  redis.disconnect()
  examples.close()
  forward.close()
  await kubectl.attempt('delete', 'taskqueue', 'clocks', ...inE2e, '--ignore-not-found', '--timeout=50s')
  await kubectl.attempt('delete', 'deployment,service,configmap', '-l', 'app=skewed-redis', ...inE2e, '--wait=false')
})

/** A Redis that asks a library for the time, which adds what a file says. */
async function brokerWithSettableClock(): Promise<object[]> {
  const labels = { app: 'skewed-redis' }
  const metadata = { name: 'skewed-redis', namespace: NAMESPACE, labels }
  const library = readFileSync(await clockShiftLibrary())
  const container = {
    name: 'redis',
    image: redisImage.reference,
    imagePullPolicy: 'IfNotPresent',
    command: ['redis-server', '--bind', '0.0.0.0', '--dir', '/data', '--save', '', '--protected-mode', 'no'],
    env: [
      { name: 'LD_PRELOAD', value: '/clockshift/clockshift.so' },
      { name: 'CLOCKSHIFT_FILE', value: '/data/shift' },
    ],
    readinessProbe: { tcpSocket: { port: 6379 }, periodSeconds: 1 },
    securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
    volumeMounts: [
      { name: 'data', mountPath: '/data' },
      { name: 'clockshift', mountPath: '/clockshift' },
    ],
  }
  const spec = {
    automountServiceAccountToken: false,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 10001,
      fsGroup: 10001,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    containers: [container],
    volumes: [
      { name: 'data', emptyDir: {} },
      { name: 'clockshift', configMap: { name: 'skewed-redis' } },
    ],
  }
  return [
    { apiVersion: 'v1', kind: 'ConfigMap', metadata, binaryData: { 'clockshift.so': library.toString('base64') } },
    { apiVersion: 'v1', kind: 'Service', metadata, spec: { selector: labels, ports: [{ port: 6379 }] } },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata,
      spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
    },
  ]
}

/** Nobody takes from `ledger`: every message that beat sends stays in it. */
function taskQueue(): object {
  const resources = { requests: { cpu: '10m', memory: '48Mi' }, limits: { memory: '192Mi' } }
  return {
    apiVersion: 'taskqueue.dev/v1alpha1',
    kind: 'TaskQueue',
    metadata: { name: 'clocks', namespace: NAMESPACE },
    spec: {
      engine: 'Node',
      image: inject('ordersImage'),
      app: './tasks.ts',
      broker: { url: 'redis://skewed-redis:6379/0' },
      workers: [{ name: 'default', replicas: 1, concurrency: 1, resources }],
      beat: {
        schedules: [
          { name: 'tick', task: 't', everySeconds: 1, queue: 'ledger', catchUp: 'All', misfireGraceSeconds: 3600 },
        ],
        resources,
      },
      clockSync: { mode: 'Discipline', servers: [NTP_SERVER], maxSkewSeconds: 60, onSkew: 'HoldBeat' },
    },
  }
}

async function setBrokerAhead(seconds: number): Promise<void> {
  const write = `echo ${seconds} > /data/shift.new && mv /data/shift.new /data/shift`
  await kubectl.run('exec', 'deployment/skewed-redis', ...inE2e, '--', 'sh', '-c', write)
}

async function workerOf(name: string): Promise<LivePod> {
  const selector = `taskqueue.dev/taskqueue=${name},taskqueue.dev/pool=default`
  const { items } = await kubectl.json<{ items: LivePod[] }>('get', 'pods', ...inE2e, '--selector', selector)
  const [found] = items.filter(({ metadata }) => metadata.deletionTimestamp === undefined)
  if (!found) throw new Error(`TaskQueue ${name} has no worker`)
  return found
}

const restartsOf = (of: LivePod, container: string): number =>
  [...(of.status?.containerStatuses ?? []), ...(of.status?.initContainerStatuses ?? [])].find(
    ({ name }) => name === container,
  )?.restartCount ?? NaN

const slots = (): Promise<number[]> => publishedSlots(redis, 'ledger')

describe.concurrent('clocks', () => {
  it('are told pair by pair; a broker 90 s ahead holds beat, which then doubles and skips nothing', async () => {
    const agreed = await condition('clocks', 'ClockSynchronized', 'True', {
      reason: /^WithinLimit$/,
      deadlineMs: 90_000,
    })
    expect(agreed.message).toContain("agree with the broker's clock and with NTP")
    await eventually(
      async () =>
        expect((await queue('clocks')).status?.clock).toEqual({
          skew: '<0.25s',
          hostAgainstBroker: '<0.25s',
          hostAgainstNtp: '<0.25s',
          brokerAgainstNtp: '<0.25s',
          hostAgainstBeat: '<0.25s',
        }),
      60_000,
    )
    const told = await kubectl.run(
      'exec',
      'clocks-beat',
      ...inE2e,
      '--container',
      'companion',
      '--',
      'node',
      '-e',
      "fetch('http://127.0.0.1:9809/clock').then(async (r) => console.log(await r.text()))",
    )
    expect(JSON.parse(told)).toMatchObject({
      mode: 'Discipline',
      discipline: { leap: expect.anything() as unknown, stratum: 3 },
    })

    await setBrokerAhead(90)
    const skewed = await condition('clocks', 'ClockSynchronized', 'False', { deadlineMs: 30_000 })
    expect(skewed).toMatchObject({ reason: 'BrokerClockSkewed' })
    expect(skewed.message).toMatch(/The broker's clock is (89|90)s ahead of NTP .* the limit is 60s/)
    await condition('clocks', 'BeatReady', 'False', { reason: /^ClockSkewed$/, deadlineMs: 30_000 })
    // A worker's readiness never changes for it.
    expect(await workerOf('clocks')).toMatchObject({
      status: { containerStatuses: [{ ready: true, restartCount: 0 }] },
    })
    const held = (await slots()).length

    await setBrokerAhead(0)
    await condition('clocks', 'ClockSynchronized', 'True', { deadlineMs: 60_000 })
    await condition('clocks', 'Ready', 'True', { deadlineMs: 60_000 })
    await eventually(async () => expect((await slots()).length).toBeGreaterThan(held + 5), 60_000, 250)
    const found = await slots()
    expect(found).toEqual(found.map((_, i) => (found[0] ?? NaN) + i * 1000))
  }, 300_000)

  it('cost no worker anything while companions end again and again', async () => {
    const before = await workerOf('reports')
    const { name } = before.metadata
    const ended = restartsOf(before, 'companion')
    const reports = await Promise.all(
      Array.from({ length: 40 }, (_, i) => app.send('reports.build', [`c-${i}`, 2], { queue: 'celery' })),
    )
    // Kubernetes lets it wait 10 s and then 20 s before it comes back.
    for (let i = 1; i <= 3; i++) {
      await kubectl.attempt(
        'exec',
        name,
        ...inE2e,
        '--container',
        'companion',
        '--',
        'node',
        '-e',
        "process.kill(1, 'SIGTERM')",
      )
      await eventually(
        async () => {
          const now = await pod(name)
          expect(restartsOf(now, 'companion')).toBe(ended + i)
          expect(now.status?.initContainerStatuses?.[0]?.ready).toBe(true)
        },
        120_000,
        500,
      )
    }
    await condition('reports', 'WorkersAvailable', 'True', { deadlineMs: 60_000 })
    const after = await pod(name)
    expect(after.metadata.uid).toBe(before.metadata.uid)
    expect(restartsOf(after, 'worker')).toBe(restartsOf(before, 'worker'))
    for (const report of reports) expect(await report.get({ timeoutSeconds: 60 })).toMatchObject({ pages: 3 })
  }, 300_000)
})
