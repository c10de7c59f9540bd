// The one beat Pod on the real cluster, whatever happens to it: a ledger in the broker has every slot, and none twice. Then Python's own
// schedulers with the same guarantees.

import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { example } from '../../deploy/demo/install.ts'
import { PortForward } from '../../deploy/demo/portforward.ts'
import type { LivePod } from '../../src/operator/objects.ts'
import { eventually } from '../fixtures/eventually.ts'
import { publishedSlots } from '../fixtures/published.ts'
import { inNamespace, NAMESPACE } from './cluster.ts'
import { condition, crash, inE2e, kubectl, ordersQueue, patchSpec, pod, queue } from './scene.ts'

const TICKER = 'ticker-beat'
let forward: PortForward
let redis: Redis

/** Nobody takes from `ledger`: every message that beat sends stays in it. */
const ticker = ordersQueue('ticker', {
  beat: {
    schedules: [
      { name: 'tick', task: 't', everySeconds: 1, queue: 'ledger', catchUp: 'All', misfireGraceSeconds: 3600 },
    ],
    resources: { requests: { cpu: '10m', memory: '48Mi' }, limits: { memory: '192Mi' } },
  },
})

beforeAll(async () => {
  forward = await PortForward.open(kubectl, NAMESPACE, 'service/redis', 6379)
  redis = new Redis({ port: forward.port, host: '127.0.0.1', password: 'demo-only' })
  redis.on('error', () => undefined)
  await kubectl.apply(JSON.stringify(ticker))
  await condition('ticker', 'BeatReady', 'True', { deadlineMs: 90_000 })
})
afterAll(async () => {
  redis.disconnect()
  forward.close()
  await kubectl.attempt('delete', 'taskqueue', 'ticker', 'timers', ...inE2e, '--ignore-not-found', '--timeout=50s')
})

const slots = (): Promise<number[]> => publishedSlots(redis, 'ledger')

/** Beat fires, and since it was first started every slot has been published once. */
async function expectLedger(): Promise<void> {
  const enough = (await slots()).length + 2
  await eventually(async () => expect((await slots()).length).toBeGreaterThanOrEqual(enough), 90_000, 250)
  const found = await slots()
  expect(found).toEqual(found.map((_, i) => (found[0] ?? NaN) + i * 1000))
}

/** The Pod of that name once it is another one, and ready. */
async function anew(name: string, before: LivePod, taskQueue: string): Promise<LivePod> {
  await eventually(async () => expect((await pod(name)).metadata.uid).not.toBe(before.metadata.uid), 90_000, 250)
  await condition(taskQueue, 'BeatReady', 'True', { deadlineMs: 90_000 })
  return pod(name)
}

describe('the beat Pod', () => {
  it('whose container exits 1 is restarted by the kubelet: the same Pod, its schedule kept', async () => {
    await expectLedger()
    const before = await pod(TICKER)
    await crash(TICKER, 'beat')
    await eventually(
      async () => {
        const [container] = (await pod(TICKER)).status?.containerStatuses ?? []
        expect(container).toMatchObject({ restartCount: 1, ready: true, lastState: { terminated: { exitCode: 1 } } })
      },
      60_000,
      250,
    )
    expect((await pod(TICKER)).metadata.uid).toBe(before.metadata.uid)
    await expectLedger()
  })

  it('that is deleted is made anew, once', async () => {
    const before = await pod(TICKER)
    await kubectl.run('delete', 'pod', TICKER, ...inE2e, '--wait=false')
    const after = await anew(TICKER, before, 'ticker')
    await expectLedger()
    expect((await pod(TICKER)).metadata.uid).toBe(after.metadata.uid)
  })

  it('whose spec changes is gone before the new one is there', async () => {
    const before = await pod(TICKER)
    await patchSpec('ticker', { beat: { resources: { requests: { memory: '56Mi' } } } })
    const after = await anew(TICKER, before, 'ticker')
    expect(JSON.stringify(after.spec)).toContain('56Mi')
    const events = await kubectl.json<{ items: { reason: string; involvedObject: { uid: string } }[] }>(
      'get',
      'events',
      ...inE2e,
      `--field-selector=involvedObject.name=${TICKER}`,
    )
    const ofPods = events.items.filter(({ reason }) => reason === 'Killing' || reason === 'Scheduled')
    const killed = ofPods.findIndex((e) => e.reason === 'Killing' && e.involvedObject.uid === before.metadata.uid)
    const scheduled = ofPods.findIndex((e) => e.reason === 'Scheduled' && e.involvedObject.uid === after.metadata.uid)
    expect(killed).toBeGreaterThanOrEqual(0)
    expect(scheduled).toBeGreaterThan(killed)
    await expectLedger()
  })

  it('whose node is drained is Pending, which is said, and runs when the node is uncordoned', async () => {
    const before = await pod(TICKER)
    const node = before.spec.nodeName ?? ''
    const only = '--pod-selector=taskqueue.dev/taskqueue=ticker'
    try {
      // Without --force: it is not refused for a Pod that a controller owns.
      await kubectl.wait(60, 'drain', node, only, '--ignore-daemonsets', '--delete-emptydir-data')
      const said = await condition('ticker', 'BeatReady', 'False', { reason: /^Unschedulable$/ })
      expect(said.message).toContain('unschedulable')
      expect((await queue('ticker')).status?.beat).toMatchObject({ state: 'Pending' })
    } finally {
      await kubectl.run('uncordon', node)
    }
    await anew(TICKER, before, 'ticker')
    await expectLedger()
  })

  it('that stays in Terminating gets no second one beside it, and the condition says why', async () => {
    const before = await pod(TICKER)
    const finalizers = (list: string[] | null): Promise<string> =>
      kubectl.run(
        'patch',
        'pod',
        TICKER,
        ...inE2e,
        '--type=merge',
        `--patch=${JSON.stringify({ metadata: { finalizers: list } })}`,
      )
    await finalizers(['example.org/hold'])
    try {
      await kubectl.run('delete', 'pod', TICKER, ...inE2e, '--wait=false', '--grace-period=1')
      const said = await condition('ticker', 'BeatReady', 'False', { reason: /^HeldByFinalizer$/ })
      expect(said.message).toContain('example.org/hold')
      expect((await pod(TICKER)).metadata.uid).toBe(before.metadata.uid)
    } finally {
      await finalizers(null)
    }
    await anew(TICKER, before, 'ticker')
    await expectLedger()
  })
})

describe('a schedule', () => {
  it('that sends a task which no worker knows has a condition that names it', async () => {
    const { schedules = [] } = (await queue('orders')).spec.beat ?? {}
    const set = (list: object[]): Promise<string> => patchSpec('orders', { beat: { schedules: list } })
    await set([...schedules, { name: 'typo', task: 'orders.chrage', cron: '0 3 * * *' }])
    try {
      const found = await condition('orders', 'SchedulesOnTime', 'False')
      expect(found.reason).toBe('TaskUnknown')
      expect(found.message).toContain('Schedule typo sends orders.chrage into queue orders')
    } finally {
      await set(schedules)
    }
    await condition('orders', 'SchedulesOnTime', 'True')
  })
})

describe("Celery's own beat", () => {
  it('keeps its schedule on the volume, and goes on with it in the next Pod', async () => {
    // Beat holds the file open: a copy is read.
    const read =
      "import glob, os, shelve, shutil; f = '/var/lib/taskqueue/celerybeat-schedule'; " +
      "[shutil.copy(p, '/tmp/copy' + p[len(f):]) for p in glob.glob(f + '*')]; " +
      "print(shelve.open('/tmp/copy')['entries']['refresh'].total_run_count)"
    const runs = async (): Promise<number> =>
      Number(await kubectl.run('exec', 'reports-beat', ...inE2e, '--container', 'beat', '--', 'python3', '-c', read))
    const before = await pod('reports-beat')
    const log = (): Promise<string> => kubectl.run('logs', 'reports-beat', ...inE2e, '--container', 'beat')
    await eventually(async () => expect(await log()).toContain('Sending due task refresh'), 60_000, 500)
    const sent = (await log()).split('Sending due task refresh').length - 1
    await kubectl.run('delete', 'pod', 'reports-beat', ...inE2e, '--wait=false')
    await anew('reports-beat', before, 'reports')
    expect(await runs()).toBeGreaterThanOrEqual(sent)
  })
})

describe('a Python APScheduler process', () => {
  const TIMERS = 'timers-beat'
  /** Of import_prices, and its grace time, as in timers.py. */
  const [PERIOD_MS, GRACE_MS] = [15_000, 2000]
  interface Said {
    event: string
    jobs?: Record<string, string>
    job?: string
    error?: string
    restored?: string[]
  }
  const said = async (): Promise<Said[]> => {
    const lines = (await kubectl.run('logs', TIMERS, ...inE2e, '--container', 'beat')).split('\n')
    return lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Said)
  }
  const says = (event: string, job?: string): Promise<Said> =>
    eventually(
      async () =>
        (await said()).find((line) => line.event === event && (job === undefined || line.job === job)) ??
        expect.fail(`it has not said ${event}`),
      60_000,
      500,
    )
  const patch = (spec: object): Promise<string> => patchSpec('timers', spec)

  it('whose image can not be pulled has a condition that names it, and runs once it can', async () => {
    await kubectl.apply(inNamespace(example('timers', inject('images'))))
    await patch({ beat: { image: 'taskqueue.local/no-such-timers:1' } })
    const told = await condition('timers', 'BeatReady', 'False', { reason: /^(ErrImagePull|ImagePullBackOff)$/ })
    expect(told.message).toContain('no-such-timers')
    await patch({ beat: { image: null } })
    await condition('timers', 'BeatReady', 'True', { deadlineMs: 90_000 })
  })

  it('prints its jobs, tells what fails, and its jobs and what they missed survive the Pod', async () => {
    expect((await says('jobs')).jobs).toMatchObject({ refresh: expect.any(String) as string })
    expect((await says('job-error')).error).toContain('FileNotFoundError')
    await patch({ suspend: true })
    await eventually(
      async () => expect((await kubectl.attempt('get', 'pod', TIMERS, ...inE2e)).status).not.toBe(0),
      60_000,
      250,
    )
    // A whole period and the job's grace: whatever was due when the Pod ended, one slot is too late by then.
    const gone = Date.now()
    await eventually(() => expect(Date.now()).toBeGreaterThan(gone + PERIOD_MS + GRACE_MS + 1000), 60_000, 250)
    await patch({ suspend: false })
    await condition('timers', 'BeatReady', 'True', { deadlineMs: 90_000 })
    expect((await says('timers-started')).restored).toEqual(['import_prices', 'patrol', 'refresh'])
    await says('job-missed', 'import_prices')
  })
})
