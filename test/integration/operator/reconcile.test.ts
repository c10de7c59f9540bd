// The operator against a real API server and a real Redis. There are no nodes: pods stay Pending, which is enough to see what the
// operator writes and when.

import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  configMaps,
  deployments,
  pathOf,
  pods,
  taskQueues,
  volumeClaims,
} from '../../../src/operator/kube/resources.ts'
import type { KubeObject, LiveConfigMap, LiveDeployment, LivePod } from '../../../src/operator/objects.ts'
import type { TaskQueue } from '../../../src/operator/taskqueue.ts'
import { ControlPlane, nodeSpec } from '../../fixtures/controlplane.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'

let plane: ControlPlane
let redis: RedisServer

beforeAll(async () => {
  redis = await startRedis()
  plane = await ControlPlane.start()
  plane.startOperator()
})

afterAll(async () => {
  await plane.stop()
  await redis.close()
})

const spec = (changes?: Record<string, unknown>): Record<string, unknown> => nodeSpec(redis.url, changes)

/** Watches for a while; steady means that nothing is written in it. There is no condition to wait for: it is about absence. */
async function writesIn(name: string, ms: number): Promise<string[]> {
  const before = plane.writesAbout(name).length
  await delay(ms)
  return plane.writesAbout(name).slice(before)
}

async function gone(read: () => Promise<unknown>): Promise<void> {
  await eventually(async () => expect(await read()).toBeUndefined())
}

describe('a new TaskQueue', () => {
  it('gets its Deployment, beat Pod, volume and schedules, all owned by it', async () => {
    const schedules = [{ name: 'sweep', task: 'carts.sweep', everySeconds: 30 }]
    const queue = await plane.create({ name: 'fresh', spec: spec({ beat: { schedules } }) })
    const children = await eventually(() =>
      Promise.all([
        plane.get<KubeObject>(deployments, 'fresh-default'),
        plane.get<KubeObject>(pods, 'fresh-beat'),
        plane.get<KubeObject>(volumeClaims, 'fresh-beat'),
        plane.get<KubeObject>(configMaps, 'fresh-schedules'),
      ]),
    )
    for (const child of children)
      expect(child.metadata.ownerReferences).toMatchObject([{ uid: queue.metadata.uid, controller: true }])
    expect(children[1]).toMatchObject({ spec: { restartPolicy: 'OnFailure' } })
    await plane.condition('fresh', 'BrokerReachable', 'True')
    await plane.condition('fresh', 'Ready', 'False')
  })

  it('starts with the wanted number of pods and never passes through 1', async () => {
    await plane.create({ name: 'three', spec: spec({ workers: [{ name: 'default', replicas: 3 }] }) })
    const live = await eventually(() => plane.get<LiveDeployment>(deployments, 'three-default'))
    expect(live.spec.replicas).toBe(3)
    await plane.settled('three')
    const owners = (await plane.get<LiveDeployment>(deployments, 'three-default')).metadata.managedFields
    const replicasOf = owners?.filter(
      (entry) => JSON.stringify(entry.fieldsV1).includes('f:replicas') && entry.subresource !== 'status',
    )
    expect(replicasOf?.map((entry) => entry.manager)).toEqual(['taskqueue-scaler'])
  })

  it('is written about no more once it is settled', async () => {
    await plane.create({ name: 'quiet', spec: spec({ beat: {} }) })
    await plane.settled('quiet')
    // The inspector looks at the broker meanwhile, watches deliver bookmarks, and a reconcile is asked for by a foreign label.
    await plane.client.mergePatch(
      deployments,
      'demo',
      'quiet-default',
      { metadata: { labels: { theirs: 'x' } } },
      'them',
    )
    expect(await writesIn('quiet', 6_000)).toEqual([])
  })
})

describe('drift', () => {
  it('is put right: a changed image, a deleted Deployment, a deleted ConfigMap, a changed number', async () => {
    await plane.create({
      name: 'drift',
      spec: spec({ beat: { schedules: [{ name: 'a', task: 't', everySeconds: 5 }] } }),
    })
    await plane.settled('drift')
    const container = { name: 'worker', image: 'evil:1' }
    const kind = { apiVersion: 'apps/v1', kind: 'Deployment' }
    const metadata = { name: 'drift-default', namespace: 'demo' }
    await plane.client.apply(
      { ...kind, metadata, spec: { template: { spec: { containers: [container] } } } } as KubeObject,
      'someone',
    )
    await eventually(async () => {
      const live = await plane.get<LiveDeployment>(deployments, 'drift-default')
      expect(live.spec.template.spec.containers[0]?.image).toBe('registry.example/app:1')
    }, 5_000)
    await plane.client.mergePatch(deployments, 'demo', 'drift-default', { spec: { replicas: 7 } }, 'someone')
    await eventually(
      async () => expect((await plane.get<LiveDeployment>(deployments, 'drift-default')).spec.replicas).toBe(2),
      5_000,
    )
    await plane.client.delete(configMaps, 'demo', 'drift-schedules')
    await plane.client.delete(deployments, 'demo', 'drift-default')
    await eventually(
      () => Promise.all([plane.get(configMaps, 'drift-schedules'), plane.get(deployments, 'drift-default')]),
      5_000,
    )
  })

  it('leaves what others added alone', async () => {
    await plane.create({ name: 'shared', spec: spec() })
    await plane.settled('shared')
    const container = { name: 'injected', image: 'mesh:1' }
    const body = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'shared-default', namespace: 'demo', annotations: { theirs: 'yes' } },
      spec: { template: { spec: { containers: [container] } } },
    }
    await plane.client.apply(body, 'mesh')
    await plane.settled('shared')
    const live = await plane.get<LiveDeployment>(deployments, 'shared-default')
    expect(live.metadata.annotations?.theirs).toBe('yes')
    expect(live.spec.template.spec.containers.map((c) => c.name)).toContain('injected')
  })

  it('makes a deleted beat Pod anew, once', async () => {
    await plane.create({ name: 'again', spec: spec({ beat: {} }) })
    const first = await eventually(() => plane.get<LivePod>(pods, 'again-beat'))
    await plane.client.delete(pods, 'demo', 'again-beat')
    const second = await eventually(async () => {
      const pod = await plane.get<LivePod>(pods, 'again-beat')
      expect(pod.metadata.uid).not.toBe(first.metadata.uid)
      return pod
    })
    await plane.settled('again')
    expect((await plane.get<LivePod>(pods, 'again-beat')).metadata.uid).toBe(second.metadata.uid)
  })
})

describe('a changed spec', () => {
  it('takes the objects of a removed pool and a removed beat with it', async () => {
    const workers = [
      { name: 'default', replicas: 1 },
      { name: 'mail', queues: ['mail'], replicas: 1 },
    ]
    await plane.create({ name: 'smaller', spec: spec({ workers, beat: {} }) })
    await eventually(() => Promise.all([plane.get(deployments, 'smaller-mail'), plane.get(pods, 'smaller-beat')]))
    await plane.patch('smaller', { workers: [{ name: 'default', replicas: 1 }], beat: null })
    await gone(() => plane.client.get(deployments, 'demo', 'smaller-mail'))
    await gone(() => plane.client.get(pods, 'demo', 'smaller-beat'))
    await gone(() => plane.client.get(configMaps, 'demo', 'smaller-schedules'))
    await plane.get(deployments, 'smaller-default')
  })

  it('removes a field that is no longer wanted', async () => {
    await plane.create({
      name: 'fields',
      spec: spec({ podTemplate: { spec: { priorityClassName: 'system-node-critical' } } }),
    })
    await plane.settled('fields')
    await plane.patch('fields', { podTemplate: null })
    await eventually(async () => {
      const live = await plane.get<LiveDeployment>(deployments, 'fields-default')
      expect(live.spec.template.spec).not.toHaveProperty('priorityClassName')
    })
  })

  it('of schedules alone changes the ConfigMap and touches the beat Pod, and rolls nothing', async () => {
    const schedule = (everySeconds: number): Record<string, unknown> => ({
      schedules: [{ name: 'a', task: 't', everySeconds }],
    })
    await plane.create({ name: 'timed', spec: spec({ beat: schedule(5) }) })
    await plane.settled('timed')
    const [pod, deployment] = await Promise.all([
      plane.get<LivePod>(pods, 'timed-beat'),
      plane.get(deployments, 'timed-default'),
    ])
    await plane.patch('timed', { beat: schedule(6) })
    await eventually(async () => {
      expect((await plane.get<LiveConfigMap>(configMaps, 'timed-schedules')).data?.['schedules.yaml']).toContain(
        'everySeconds: 6',
      )
    })
    await plane.settled('timed')
    const after = await plane.get<LivePod>(pods, 'timed-beat')
    expect(after.metadata.uid).toBe(pod.metadata.uid)
    expect(after.metadata.annotations?.['taskqueue.dev/schedules-hash']).not.toBe(
      pod.metadata.annotations?.['taskqueue.dev/schedules-hash'],
    )
    expect((await plane.get(deployments, 'timed-default')).metadata.generation).toBe(deployment.metadata.generation)
  })

  it('of suspend writes down the number of an HPA before it makes it 0', async () => {
    await plane.create({ name: 'counted', spec: spec({ workers: [{ name: 'hpa' }] }) })
    await eventually(() => plane.get(deployments, 'counted-hpa'))
    await plane.client.mergePatch(deployments, 'demo', 'counted-hpa', { spec: { replicas: 6 } }, 'hpa')
    await plane.settled('counted')
    const before = plane.writesAbout('counted').length
    await plane.patch('counted', { suspend: true })
    const replicas = async (): Promise<number | undefined> =>
      (await plane.get<LiveDeployment>(deployments, 'counted-hpa')).spec.replicas
    await eventually(async () => expect(await replicas()).toBe(0))
    const [first, second] = plane.writesAbout('counted').slice(before)
    expect([first, second]).toEqual(['patch taskqueues/counted/status', 'patch deployments/counted-hpa/scale'])
    await plane.patch('counted', { suspend: false })
    await eventually(async () => expect(await replicas()).toBe(6))
  })

  it('of suspend brings a pool to life that was made suspended', async () => {
    await plane.create({ name: 'asleep', spec: spec({ suspend: true, workers: [{ name: 'hpa' }] }) })
    await plane.settled('asleep')
    await plane.patch('asleep', { suspend: false })
    // An HPA leaves 0 alone: 1 is what a Deployment begins with.
    await eventually(async () =>
      expect((await plane.get<LiveDeployment>(deployments, 'asleep-hpa')).spec.replicas).toBe(1),
    )
  })

  it('of suspend goes to no pods and back to as many as there were', async () => {
    await plane.create({ name: 'paused', spec: spec({ beat: {} }) })
    await plane.settled('paused')
    await plane.patch('paused', { suspend: true })
    await eventually(async () =>
      expect((await plane.get<LiveDeployment>(deployments, 'paused-default')).spec.replicas).toBe(0),
    )
    await gone(() => plane.client.get(pods, 'demo', 'paused-beat'))
    await plane.condition('paused', 'Suspended', 'True')
    await plane.get(volumeClaims, 'paused-beat')
    await plane.patch('paused', { suspend: false })
    await eventually(async () =>
      expect((await plane.get<LiveDeployment>(deployments, 'paused-default')).spec.replicas).toBe(2),
    )
    await eventually(() => plane.get(pods, 'paused-beat'))
  })
})

describe('bad input that CEL can not see', () => {
  it('becomes a condition for a cron line, and the last good schedules stay', async () => {
    const good = [{ name: 'a', task: 't', cron: '0 3 * * *' }]
    await plane.create({ name: 'cron', spec: spec({ beat: { schedules: good } }) })
    await plane.settled('cron')
    const before = await plane.get<LiveConfigMap>(configMaps, 'cron-schedules')
    const pod = await plane.get<LivePod>(pods, 'cron-beat')
    await plane.patch('cron', { beat: { schedules: [{ name: 'a', task: 't', cron: '99 3 * * *' }] } })
    const condition = await plane.condition('cron', 'SchedulesOnTime', 'False', 'ScheduleInvalid')
    expect(condition.message).toMatch(/99 3 \* \* \*/)
    await plane.condition('cron', 'Ready', 'False', 'ScheduleInvalid')
    expect((await plane.get<LiveConfigMap>(configMaps, 'cron-schedules')).data).toEqual(before.data)
    expect((await plane.get<LivePod>(pods, 'cron-beat')).metadata.uid).toBe(pod.metadata.uid)
  })

  it('becomes a condition for a refused podTemplate, and nothing is torn down', async () => {
    await plane.create({ name: 'hostile', spec: spec() })
    await plane.settled('hostile')
    await plane.patch('hostile', { podTemplate: { spec: { hostNetwork: true } } })
    const condition = await plane.condition('hostile', 'Ready', 'False', 'PodTemplateRefused')
    expect(condition.message).toContain('hostNetwork')
    expect((await plane.get<LiveDeployment>(deployments, 'hostile-default')).spec.template.spec).not.toHaveProperty(
      'hostNetwork',
    )
  })

  it('becomes a condition for a beat that the API server refuses, and the one that runs goes on', async () => {
    await plane.create({ name: 'typo', spec: spec({ beat: {} }) })
    await plane.settled('typo')
    const pod = await plane.get<LivePod>(pods, 'typo-beat')
    await plane.patch('typo', { beat: { resources: { requests: { memory: '64MiB' } } } })
    const condition = await plane.condition('typo', 'Ready', 'False', 'ApplyRefused')
    expect(condition.message).toMatch(/64MiB|quantit/)
    await plane.settled('typo')
    expect((await plane.get<LivePod>(pods, 'typo-beat')).metadata.uid).toBe(pod.metadata.uid)
    await plane.patch('typo', { beat: { resources: { requests: { memory: '64Mi' } } } })
    await eventually(async () => {
      const next = await plane.get<LivePod>(pods, 'typo-beat')
      expect(next.metadata.uid).not.toBe(pod.metadata.uid)
    })
  })

  it('costs no beat either while a webhook that has to be asked is down', async () => {
    await plane.create({ name: 'hooked', spec: spec({ beat: {} }) })
    await plane.settled('hooked')
    const pod = await plane.get<LivePod>(pods, 'hooked-beat')
    const hooks = '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations'
    const webhook = {
      name: 'down.example.com',
      failurePolicy: 'Fail',
      sideEffects: 'None',
      admissionReviewVersions: ['v1'],
      timeoutSeconds: 1,
      clientConfig: { url: 'https://127.0.0.1:1/' },
      rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] }],
      objectSelector: { matchLabels: { 'taskqueue.dev/taskqueue': 'hooked' } },
    }
    const kind = { apiVersion: 'admissionregistration.k8s.io/v1', kind: 'ValidatingWebhookConfiguration' }
    await plane.client.json('POST', hooks, { body: { ...kind, metadata: { name: 'down' }, webhooks: [webhook] } })
    try {
      await plane.patch('hooked', { beat: { resources: { requests: { cpu: '10m' } } } })
      const condition = await eventually(async () => {
        const queue = await plane.get<TaskQueue>(taskQueues, 'hooked')
        const ready = queue.status?.conditions?.find((one) => one.type === 'Ready')
        expect(ready?.reason).toBe('ReconcileFailed')
        return ready
      })
      expect(condition?.message).toContain('webhook')
      expect((await plane.get<LivePod>(pods, 'hooked-beat')).metadata.uid).toBe(pod.metadata.uid)
    } finally {
      await plane.client.json('DELETE', `${hooks}/down`)
    }
    await eventually(async () => {
      expect((await plane.get<LivePod>(pods, 'hooked-beat')).metadata.uid).not.toBe(pod.metadata.uid)
    }, 30_000)
  })

  it('becomes a condition for hundreds of cron lines at once', async () => {
    const schedules = Array.from({ length: 400 }, (_, n) => ({ name: `s${n}`, task: 't', cron: `99 * * * ${n}` }))
    await plane.create({ name: 'many', spec: spec({ beat: { schedules } }) })
    const condition = await plane.condition('many', 'SchedulesOnTime', 'False', 'ScheduleInvalid')
    expect(condition.message).toContain('And 390 more.')
  })

  it('becomes a condition for lists in a podTemplate that are none', async () => {
    const podTemplate = { spec: { initContainers: 'x', containers: [null], volumes: null } }
    await plane.create({ name: 'shapeless', spec: spec({ podTemplate }) })
    const condition = await plane.condition('shapeless', 'Ready', 'False', 'PodTemplateRefused')
    expect(condition.message).toContain('initContainers must be a list')
  })

  it('does not keep a TaskQueue from being suspended', async () => {
    await plane.create({ name: 'stopped', spec: spec({ beat: {} }) })
    await plane.settled('stopped')
    await plane.patch('stopped', { suspend: true, podTemplate: { spec: { hostNetwork: true } } })
    await gone(() => plane.client.get(pods, 'demo', 'stopped-beat'))
    await plane.condition('stopped', 'Suspended', 'True')
    expect((await plane.get<LiveDeployment>(deployments, 'stopped-default')).spec.replicas).toBe(0)
  })

  it('becomes a condition for a template that the API server refuses', async () => {
    await plane.create({ name: 'odd', spec: spec({ podTemplate: { spec: { dnsPolicy: 'Sometimes' } } }) })
    const condition = await plane.condition('odd', 'Ready', 'False', 'ApplyRefused')
    expect(condition.message).toContain('dnsPolicy')
  })

  it('leaves a Deployment and a Pod of the same name alone that others made', async () => {
    const labels = { app: 'theirs' }
    const template = { metadata: { labels }, spec: { containers: [{ name: 'x', image: 'theirs:1' }] } }
    const metadata = { name: 'taken-default', namespace: 'demo' }
    const theirs = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata,
      spec: { selector: { matchLabels: labels }, template },
    }
    await plane.client.create(theirs, 'them')
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'taken-beat', namespace: 'demo' },
      spec: template.spec,
    }
    await plane.client.create(pod, 'them')
    await plane.create({ name: 'taken', spec: spec({ beat: {} }) })
    const ready = await plane.condition('taken', 'Ready', 'False', 'ApplyRefused')
    expect(ready.message).toMatch(/taken-default exists and was not made by the operator/)
    await plane.condition('taken', 'BeatReady', 'False', 'NameTaken')
    await plane.settled('taken')
    expect(await writesIn('taken', 3_000)).toEqual([])
    const live = await plane.get<LiveDeployment>(deployments, 'taken-default')
    expect(live.spec.template.spec.containers).toMatchObject([{ image: 'theirs:1' }])
  })
})

describe('the broker', () => {
  it('that can not be reached is a condition, and workers are left as they are', async () => {
    await plane.create({ name: 'nobroker', spec: spec({ broker: { url: 'redis://127.0.0.1:1/0' } }) })
    const condition = await plane.condition('nobroker', 'BrokerReachable', 'False', 'Unreachable')
    expect(condition.message).toMatch(/127\.0\.0\.1:1/)
    expect((await plane.get<LiveDeployment>(deployments, 'nobroker-default')).spec.replicas).toBe(2)
    await plane.settled('nobroker')
    expect(await writesIn('nobroker', 5_000)).toEqual([])
  })

  it('that goes away is told, and that it came back too', async () => {
    const own = await startRedis()
    try {
      await plane.create({ name: 'flaky', spec: spec({ broker: { url: own.url } }) })
      await plane.condition('flaky', 'BrokerReachable', 'True')
      await own.down()
      await plane.condition('flaky', 'BrokerReachable', 'False')
      await own.up()
      await eventually(() => plane.condition('flaky', 'BrokerReachable', 'True'), 30_000)
    } finally {
      await own.close()
    }
  })

  it('is asked for the backlog of all priorities', async () => {
    await redis.client.lpush('backlogged', '{}', '{}')
    await redis.client.lpush('backlogged\x06\x163', '{}')
    await plane.create({
      name: 'backlog',
      spec: spec({ workers: [{ name: 'default', queues: ['backlogged'], replicas: 1 }] }),
    })
    await eventually(async () => expect((await plane.get<TaskQueue>(taskQueues, 'backlog')).status?.backlog).toBe(3))
    const condition = await plane.condition('backlog', 'QueuesServed', 'False', 'NoConsumer')
    expect(condition.message).toContain('backlogged (3)')
  })

  it('whose Secret is missing is a condition that says what to create', async () => {
    await plane.create({
      name: 'nosecret',
      spec: spec({ broker: { urlFrom: { secretKeyRef: { name: 'nowhere', key: 'url' } } } }),
    })
    const condition = await plane.condition('nosecret', 'BrokerReachable', 'False', 'SecretNotFound')
    expect(condition.message).toMatch(/Secret demo\/nowhere has no key "url"/)
  })

  it('whose Secret holds a URL that can not be read is a condition that does not show it', async () => {
    const data = { url: Buffer.from('redis://:hunter2@host:notaport/0').toString('base64') }
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'torn', namespace: 'demo' }, data }
    await plane.client.create(secret, 'test')
    const broker = { urlFrom: { secretKeyRef: { name: 'torn', key: 'url' } } }
    await plane.create({ name: 'torn', spec: spec({ broker }) })
    const condition = await plane.condition('torn', 'BrokerReachable', 'False', 'UrlInvalid')
    expect(condition.message).not.toContain('hunter2')
  })

  it('whose Secret holds no URL is a condition that does not show it', async () => {
    const data = { url: Buffer.from('hunter2').toString('base64') }
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'bare', namespace: 'demo' }, data }
    await plane.client.create(secret, 'test')
    await plane.create({
      name: 'bare',
      spec: spec({ broker: { urlFrom: { secretKeyRef: { name: 'bare', key: 'url' } } } }),
    })
    const condition = await plane.condition('bare', 'BrokerReachable', 'False', 'UrlInvalid')
    expect(condition.message).not.toContain('hunter2')
  })
})

describe('autoscale', () => {
  it('scales up from nothing by backlog, and an HPA keeps a pool that says no number', async () => {
    await redis.client.lpush('busy', ...Array.from({ length: 120 }, () => '{}'))
    const workers = [
      { name: 'auto', queues: ['busy'], autoscale: { maxReplicas: 10, backlogPerReplica: 50 } },
      { name: 'hpa', queues: ['other'] },
    ]
    await plane.create({ name: 'scaled', spec: spec({ workers }) })
    await eventually(async () =>
      expect((await plane.get<LiveDeployment>(deployments, 'scaled-auto')).spec.replicas).toBe(3),
    )
    await plane.client.mergePatch(deployments, 'demo', 'scaled-hpa', { spec: { replicas: 6 } }, 'hpa')
    await plane.settled('scaled')
    expect((await plane.get<LiveDeployment>(deployments, 'scaled-hpa')).spec.replicas).toBe(6)
  })
})

describe('autoscale that has nothing to do', () => {
  it('goes down by itself once the cooldown is over', async () => {
    await redis.client.lpush('brief', '{}')
    const autoscale = { maxReplicas: 3, backlogPerReplica: 1, cooldownSeconds: 3 }
    await plane.create({ name: 'brief', spec: spec({ workers: [{ name: 'auto', queues: ['brief'], autoscale }] }) })
    const replicas = async (): Promise<number | undefined> =>
      (await plane.get<LiveDeployment>(deployments, 'brief-auto')).spec.replicas
    await eventually(async () => expect(await replicas()).toBe(1))
    await redis.client.del('brief')
    // Nothing changes any more that would wake the reconcile: it has to ask to be called again.
    await eventually(async () => expect(await replicas()).toBe(0), 30_000)
  })
})

describe('the image of a Celery beat', () => {
  it('stays the proven one when the Pod is gone, and when beat was Declared before', async () => {
    const celery = { engine: 'Celery', app: 'shop', beat: { scheduler: 'Celery' } }
    await plane.create({ name: 'proven', spec: spec(celery) })
    const image = async (): Promise<string | undefined> =>
      (await plane.get<LivePod>(pods, 'proven-beat')).spec.containers.find((c) => c.name === 'beat')?.image
    await eventually(async () => expect(await image()).toBe('registry.example/app:1'))
    await plane.settled('proven')
    await plane.patch('proven', { image: 'registry.example/app:2', beat: { resources: { requests: { cpu: '10m' } } } })
    await plane.settled('proven')
    await plane.client.delete(pods, 'demo', 'proven-beat')
    await plane.settled('proven')
    expect(await image()).toBe('registry.example/app:1')
    await plane.patch('proven', { beat: { scheduler: 'Declared' } })
    await plane.settled('proven')
    await plane.patch('proven', { beat: { scheduler: 'Celery' } })
    await plane.settled('proven')
    expect(await image()).toBe('registry.example/app:2')
  })
})

describe('the operator', () => {
  it('rolls nobody over quantities that the API server writes in its own way', async () => {
    const podTemplate = { spec: { volumes: [{ name: 'scratch', emptyDir: { sizeLimit: '1024Mi' } }] } }
    const resources = { requests: { memory: '1024Mi', cpu: '1000m' }, limits: { memory: '2048Mi' } }
    const workers = [{ name: 'default', replicas: 1, resources }]
    await plane.create({ name: 'normal', spec: spec({ podTemplate, workers }) })
    await plane.settled('normal')
    const before = await plane.get(deployments, 'normal-default')
    await plane.stopOperator()
    plane.startOperator('registry.example/operator:3')
    expect(await writesIn('normal', 4_000)).toEqual([])
    expect((await plane.get(deployments, 'normal-default')).metadata.generation).toBe(before.metadata.generation)
  })

  it('of a new version rolls nobody, and one that starts again writes nothing', async () => {
    await plane.create({ name: 'upgraded', spec: spec({ beat: {} }) })
    await plane.settled('upgraded')
    const [pod, deployment] = await Promise.all([
      plane.get<LivePod>(pods, 'upgraded-beat'),
      plane.get(deployments, 'upgraded-default'),
    ])
    await plane.stopOperator()
    plane.startOperator('registry.example/operator:2')
    expect(await writesIn('upgraded', 4_000)).toEqual([])
    expect((await plane.get<LivePod>(pods, 'upgraded-beat')).metadata.uid).toBe(pod.metadata.uid)
    expect((await plane.get(deployments, 'upgraded-default')).metadata.generation).toBe(deployment.metadata.generation)
  })

  it('goes on after an outage of the API server', async () => {
    await plane.create({ name: 'outage', spec: spec() })
    await plane.settled('outage')
    await plane.server.halt()
    await plane.server.resume()
    await eventually(() => plane.patch('outage', { image: 'registry.example/app:2' }))
    await eventually(async () => {
      const live = await plane.get<LiveDeployment>(deployments, 'outage-default')
      expect(live.spec.template.spec.containers[0]?.image).toBe('registry.example/app:2')
    }, 40_000)
  })

  it('leaves a deleted TaskQueue to garbage collection', async () => {
    await plane.create({ name: 'deleted', spec: spec({ beat: {} }) })
    await plane.settled('deleted')
    await plane.client.delete(taskQueues, 'demo', 'deleted')
    await gone(() => plane.client.get(deployments, 'demo', 'deleted-default'))
    await gone(() => plane.client.get(pods, 'demo', 'deleted-beat'))
  })

  it('prints what a person needs in kubectl get', async () => {
    const table = (await plane.client.json('GET', pathOf(taskQueues, 'demo'), { query: { limit: '1' } })) as {
      kind: string
    }
    expect(table.kind).toBe('TaskQueueList')
    const crd = (await plane.client.json(
      'GET',
      '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/taskqueues.taskqueue.dev',
    )) as {
      spec: { versions: { additionalPrinterColumns: { name: string; priority?: number }[] }[] }
    }
    const columns = crd.spec.versions[0]?.additionalPrinterColumns.filter((column) => (column.priority ?? 0) === 0)
    expect(columns?.map((column) => column.name.toUpperCase())).toEqual([
      'READY',
      'WORKERS',
      'BACKLOG',
      'BEAT',
      'SKEW',
      'AGE',
    ])
  })
})
