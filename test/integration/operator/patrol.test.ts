// Patrol in the operator, on a real API server and real brokers, with real processes in the place of containers: each finding is brought
// about, told in status, Events and metrics, and gone after the cure.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { KubeEvent } from '../../../src/operator/events.ts'
import { events, pathOf, pods, taskQueues } from '../../../src/operator/kube/resources.ts'
import type { LivePod } from '../../../src/operator/objects.ts'
import type { TaskQueue } from '../../../src/operator/taskqueue.ts'
import { TaskApp } from '../../../src/runtime/app.ts'
import { ControlPlane, nodeSpec } from '../../fixtures/controlplane.ts'
import { endAll, launch, startWorker, type Process } from '../../fixtures/command.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'
import { until } from '../../fixtures/until.ts'
import { begun, newLedger } from '../runtime/support/ledger.ts'

let plane: ControlPlane
const servers: RedisServer[] = []

beforeAll(async () => {
  plane = await ControlPlane.start()
  const patrol = { everyMs: 1_000, deadLettersMs: 1_000, askMs: 1_000 }
  plane.startOperator(undefined, { inspection: { intervalMs: 1_000, scaledIntervalMs: 1_000, patrol } })
})
afterAll(async () => {
  await endAll()
  await plane.stop()
  for (const server of servers) await server.close()
})

async function broker(): Promise<RedisServer> {
  const server = await startRedis()
  servers.push(server)
  return server
}

/** The shortest that may be asked for. */
const SHORT = { patrol: { stalledSeconds: 10 } }

const pool = (queue: string, replicas: number): Record<string, unknown> => ({
  workers: [{ name: 'p', queues: [queue], replicas }],
})

const send = async (url: string, task: string, args: unknown[], queue: string): Promise<void> => {
  const app = new TaskApp({ name: 'test', env: { TASKQUEUE_BROKER_URL: url } })
  await app.send(task, args, { queue })
  await app.close()
}

const podsOf = async (name: string): Promise<LivePod[]> => {
  const selector = { labelSelector: `taskqueue.dev/taskqueue=${name},taskqueue.dev/pool` }
  const list = (await plane.client.json('GET', pathOf(pods, 'demo'), { query: selector })) as { items: LivePod[] }
  return list.items.filter(({ metadata }) => metadata.deletionTimestamp === undefined)
}

const allPods = (name: string, count: number): Promise<LivePod[]> =>
  until(`${name} has ${count} pods`, async () => {
    const found = await podsOf(name)
    return found.length === count && found
  })

/** The kubelet's part. */
async function becomesReady({ metadata: { name } }: LivePod): Promise<void> {
  const state = { running: {} }
  const container = { name: 'worker', ready: true, restartCount: 0, image: 'i', imageID: 'i', state }
  const status = {
    phase: 'Running',
    conditions: [{ type: 'Ready', status: 'True' }],
    containerStatuses: [container],
  }
  const contentType = 'application/merge-patch+json'
  await plane.client.json('PATCH', `${pathOf(pods, 'demo', name)}/status`, { body: { status }, contentType })
}

/** The container's part. */
const workerOf = (pod: LivePod, url: string, taskQueue: string, queues: string): Promise<Process> => {
  const { name, uid = '' } = pod.metadata
  const env = { TASKQUEUE_NAMESPACE: 'demo', TASKQUEUE_NAME: taskQueue, TASKQUEUE_POD_UID: uid }
  return startWorker(url, { queues, concurrency: 2, env, args: ['--hostname', `celery@${name}`] })
}

const statusOf = async (name: string): Promise<NonNullable<TaskQueue['status']>> =>
  (await plane.get<TaskQueue>(taskQueues, name)).status ?? {}

/** `<code> <subject>` of what patrol has in status; undefined while it knows nothing. */
const foundIn = async (name: string): Promise<string[] | undefined> =>
  (await statusOf(name)).patrol?.findings.map(({ code, subject }) => `${code} ${subject}`)

const found = (name: string, wanted: readonly string[]): Promise<true> =>
  until(
    `patrol finds ${wanted.join(', ') || 'nothing'} of ${name}`,
    async () => JSON.stringify(await foundIn(name)) === JSON.stringify(wanted),
    40,
  )

const eventsOf = async (name: string): Promise<KubeEvent[]> => {
  const query = { fieldSelector: `involvedObject.name=${name}` }
  return ((await plane.client.json('GET', pathOf(events, 'demo'), { query })) as { items: KubeEvent[] }).items
}

const event = (name: string, reason: string, text: string): Promise<KubeEvent> =>
  until(`${name} has an Event ${reason} with ${text}`, async () =>
    (await eventsOf(name)).find((one) => one.reason === reason && one.message.includes(text)),
  )

const metricsOf = async (name: string, prefix: string): Promise<string[]> =>
  (await plane.metrics(prefix)).filter((line) => line.includes(`{namespace="demo",taskqueue="${name}"`))

const podDeletions = (name: string): string[] =>
  plane.writes().filter((write) => new RegExp(`^delete pods/${name}-p-`).test(write))

describe.concurrent('patrol', () => {
  it('tells of a queue that nobody consumes although pods are ready, and of none that is not its own', async () => {
    const redis = await broker()
    await plane.create({ name: 'alone', spec: nodeSpec(redis.url, { ...SHORT, ...pool('mail', 1) }) })
    const [pod] = await allPods('alone', 1)
    if (!pod) throw new Error('there is no pod')
    await becomesReady(pod)
    // Another's queue, which a worker of another has used, and which waits.
    await redis.client.sadd('taskqueue:queues', 'foreign')
    await send(redis.url, 'test.add', [1, 2], 'foreign')
    await found('alone', [])
    await send(redis.url, 'test.add', [1, 2], 'mail')
    const condition = await plane.condition('alone', 'QueuesServed', 'False', 'QueueWithoutConsumer')
    expect(condition.message).toContain('Queue mail: Messages wait')
    await found('alone', ['QueueWithoutConsumer queue mail'])
    expect(await metricsOf('alone', 'taskqueue_patrol_findings')).toEqual([
      'taskqueue_patrol_findings{namespace="demo",taskqueue="alone",code="QueueWithoutConsumer",severity="critical"} 1',
    ])
    await event('alone', 'QueueWithoutConsumer', 'QueuesServed=False')
    await workerOf(pod, redis.url, 'alone', 'mail')
    await plane.condition('alone', 'QueuesServed', 'True', 'Served')
    await found('alone', [])
    // It lasts as it is: nothing more is written.
    await plane.settled('alone')
    const writes = plane.writesAbout('alone')
    const [looked] = await metricsOf('alone', 'taskqueue_patrol_last_look')
    expect(looked).toBeDefined()
    await until('it has looked again', async () => {
      return (await metricsOf('alone', 'taskqueue_patrol_last_look'))[0] !== looked
    })
    expect(plane.writesAbout('alone')).toEqual(writes)
    expect(await metricsOf('alone', 'taskqueue_patrol')).toHaveLength(1)
    await plane.client.delete(taskQueues, 'demo', 'alone')
    await until('its metrics are gone', async () => (await metricsOf('alone', 'taskqueue_patrol')).length === 0)
  })

  it('tells two TaskQueues that they consume one queue of one broker, until they no longer do', async () => {
    const redis = await broker()
    for (const name of ['twin', 'sibling'])
      await plane.create({ name, spec: nodeSpec(redis.url, { ...SHORT, ...pool('mail', 0) }) })
    await found('twin', ['QueueShared queue mail'])
    await found('sibling', ['QueueShared queue mail'])
    const told = await event('twin', 'QueueShared', 'TaskQueue demo/sibling consumes the queue too')
    expect(told.type).toBe('Normal')
    await plane.condition('twin', 'Ready', 'True')
    await plane.patch('sibling', pool('letters', 0))
    await found('twin', [])
    await found('sibling', [])
    await event('twin', 'PatrolCleared', 'QueueShared')
  })

  it('replaces a stalled pod, one, and none while the broker is away', async () => {
    const redis = await broker()
    const url = redis.url.replace('redis://', 'redis://worker:secret@')
    await redis.client.acl('SETUSER', 'worker', 'on', '>secret', '~*', '&*', '+@all')
    const patrol = { stalledSeconds: 10, restartStalled: false }
    await plane.create({ name: 'stuck', spec: nodeSpec(redis.url, { patrol, ...pool('mail', 2) }) })
    const first = await allPods('stuck', 2)
    const workers = new Map<string, Process>()
    for (const pod of first) {
      workers.set(pod.metadata.name, await workerOf(pod, url, 'stuck', 'mail'))
      await becomesReady(pod)
    }
    await plane.condition('stuck', 'WorkersAvailable', 'True')
    // They may look at everything, and take from no list any more.
    await redis.client.acl('SETUSER', 'worker', '-lrange', '-ltrim')
    const ledger = newLedger()
    await send(redis.url, 'test.note', [ledger, 'waits'], 'mail')
    await found('stuck', ['ConsumerStalled queue mail'])
    const condition = await plane.condition('stuck', 'QueuesServed', 'False', 'ConsumerStalled')
    for (const pod of first) expect(condition.message).toContain(`celery@${pod.metadata.name}`)
    expect((await eventsOf('stuck')).filter(({ reason }) => reason === 'StalledPodReplaced')).toEqual([])

    // All that is known is a moment old when the broker goes away, and now pods may be replaced.
    const info = await redis.client.info('server')
    const pid = Number(/process_id:(\d+)/.exec(info)?.[1])
    process.kill(pid, 'SIGSTOP')
    try {
      await plane.patch('stuck', { patrol: { restartStalled: true } })
      await plane.condition('stuck', 'BrokerReachable', 'False')
      expect(await foundIn('stuck')).toBeUndefined()
      expect((await metricsOf('stuck', 'taskqueue_patrol_findings'))[0]).toContain('code="Unknown"')
      await plane.settled('stuck')
      expect(podDeletions('stuck')).toEqual([])
    } finally {
      process.kill(pid, 'SIGCONT')
    }

    const told = await event('stuck', 'StalledPodReplaced', 'queue mail')
    expect(told.type).toBe('Warning')
    const second = await allPods('stuck', 2)
    const gone = first.filter((pod) => !second.some(({ metadata }) => metadata.uid === pod.metadata.uid))
    expect(gone).toHaveLength(1)
    const [old] = gone
    const fresh = second.find((pod) => !first.some(({ metadata }) => metadata.uid === pod.metadata.uid))
    if (!old || !fresh) throw new Error('no pod was replaced')
    expect(told.message).toContain(`Replaced pod ${old.metadata.name}`)
    expect(await metricsOf('stuck', 'taskqueue_patrol_restarts_total')).toEqual([
      'taskqueue_patrol_restarts_total{namespace="demo",taskqueue="stuck"} 1',
    ])

    await workers.get(old.metadata.name)?.end()
    await redis.client.acl('SETUSER', 'worker', '+lrange', '+ltrim')
    await workerOf(fresh, url, 'stuck', 'mail')
    await becomesReady(fresh)
    await until('the task runs', () => begun(ledger).length === 1)
    await plane.condition('stuck', 'QueuesServed', 'True', 'Served')
    await found('stuck', [])
    expect(await metricsOf('stuck', 'taskqueue_patrol_findings')).toEqual([])
    expect(podDeletions('stuck')).toEqual([`delete pods/${old.metadata.name}`])
  }, 120_000)

  it('tells of schedules that beat has not, and does not fire', async () => {
    const redis = await broker()
    const folder = await mkdtemp(join(tmpdir(), 'taskqueue-patrolled-'))
    const file = join(folder, 'schedules.yaml')
    const schedule = { name: 'tick', task: 'test.add', args: [1, 2], everySeconds: 1, queue: 'ticks' }
    await writeFile(file, JSON.stringify({ schedules: [schedule] }))
    await startWorker(redis.url, { queues: 'ticks' })
    await plane.create({
      name: 'ticking',
      spec: nodeSpec(redis.url, { ...SHORT, workers: [], beat: { schedules: [schedule] } }),
    })
    const beat = (): Process => {
      const env = { TASKQUEUE_BROKER_URL: redis.url, TASKQUEUE_NAMESPACE: 'demo', TASKQUEUE_NAME: 'ticking' }
      return launch(['beat', '--schedules', file], env)
    }
    await plane.condition('ticking', 'SchedulesOnTime', 'False', 'ScheduleMissing')
    // The Pod that isn't there says more of why.
    expect((await plane.condition('ticking', 'Ready', 'False')).reason).not.toBe('ScheduleMissing')
    const one = beat()
    await plane.condition('ticking', 'SchedulesOnTime', 'True')
    await one.end()
    const late = await until(
      'it is late',
      async () =>
        (await statusOf('ticking')).conditions?.find(
          ({ type, status }) => type === 'SchedulesOnTime' && status === 'False',
        ),
      30,
    )
    expect(late).toMatchObject({ reason: 'ScheduleOverdue', message: expect.stringContaining('Start beat') as string })
    await event('ticking', 'ScheduleOverdue', 'Schedule tick')
    beat()
    await plane.condition('ticking', 'SchedulesOnTime', 'True')
    await found('ticking', [])
    await rm(folder, { recursive: true, force: true })
  }, 90_000)

  it('tells of a broker that forgets and of dead letters by Events, and counts the dead', async () => {
    const redis = await broker()
    await plane.create({ name: 'dying', spec: nodeSpec(redis.url, { ...SHORT, ...pool('mail', 1) }) })
    const [pod] = await allPods('dying', 1)
    if (!pod) throw new Error('there is no pod')
    await workerOf(pod, redis.url, 'dying', 'mail')
    await becomesReady(pod)
    await found('dying', [])
    expect((await statusOf('dying')).deadLetters).toEqual({ count: 0 })
    await redis.client.config('SET', 'appendonly', 'no')
    expect((await event('dying', 'BrokerNotPersistent', 'appendonly yes')).type).toBe('Warning')
    await found('dying', ['BrokerNotPersistent broker'])
    await redis.client.config('SET', 'appendonly', 'yes')
    expect((await event('dying', 'PatrolCleared', 'BrokerNotPersistent (broker)')).type).toBe('Normal')

    await send(redis.url, 'test.permanent', [], 'mail')
    expect((await event('dying', 'DeadLettersGrowing', 'taskqueue dead list')).type).toBe('Warning')
    await until('they are counted', async () => (await statusOf('dying')).deadLetters?.count === 1)
    expect(Date.parse((await statusOf('dying')).deadLetters?.newestAt ?? '')).toBeGreaterThan(Date.now() - 60_000)
    await redis.client.del('taskqueue:dead:index', 'taskqueue:dead:letters', 'taskqueue:dead:messages')
    await event('dying', 'PatrolCleared', 'DeadLettersGrowing')
    await until('none is counted', async () => (await statusOf('dying')).deadLetters?.count === 0)
    // What is told once is not told again.
    expect((await eventsOf('dying')).filter(({ reason }) => reason === 'BrokerNotPersistent')).toHaveLength(1)
    await plane.condition('dying', 'Ready', 'True')
  })

  it('says Unknown of what it may not ask, which costs nothing else', async () => {
    const redis = await broker()
    await redis.client.acl('SETUSER', 'default', '-config', '-info')
    await plane.create({ name: 'narrow', spec: nodeSpec(redis.url, { ...SHORT, ...pool('mail', 1) }) })
    const [pod] = await allPods('narrow', 1)
    if (!pod) throw new Error('there is no pod')
    await workerOf(pod, redis.url, 'narrow', 'mail')
    await becomesReady(pod)
    await found('narrow', ['Unknown eviction policy of the broker', 'Unknown persistence of the broker'])
    expect((await event('narrow', 'PatrolUnknown', 'Persistence of the broker')).type).toBe('Normal')
    await plane.condition('narrow', 'Ready', 'True')
    expect(await metricsOf('narrow', 'taskqueue_patrol_findings')).toEqual([
      'taskqueue_patrol_findings{namespace="demo",taskqueue="narrow",code="Unknown",severity="unknown"} 2',
    ])
    await redis.client.acl('SETUSER', 'default', '+config', '+info')
    await found('narrow', [])
    await event('narrow', 'PatrolCleared', 'persistence of the broker')
  })

  it('misses nobody while the TaskQueue is suspended', async () => {
    const redis = await broker()
    const spec = { ...SHORT, ...pool('mail', 1), beat: { schedules: [{ name: 'a', task: 't', everySeconds: 1 }] } }
    await plane.create({ name: 'resting', spec: nodeSpec(redis.url, { ...spec, suspend: true }) })
    await send(redis.url, 'test.add', [1, 2], 'mail')
    await found('resting', [])
    await plane.condition('resting', 'QueuesServed', 'True', 'Suspended')
    await plane.patch('resting', { suspend: false })
    await found('resting', ['QueueWithoutConsumer queue mail', 'ScheduleMissing schedule a'])
  })
})
