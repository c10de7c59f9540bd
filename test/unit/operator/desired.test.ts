import type { V1PodSpec } from '@kubernetes/client-node'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { desiredOf } from '../../../src/operator/desired/index.ts'
import type { Observed } from '../../../src/operator/desired/inputs.ts'
import type { LiveConfigMap } from '../../../src/operator/objects.ts'
import { beat, schedule, taskQueue } from '../../fixtures/taskqueues.ts'

const observed: Observed = {
  operatorImage: 'op:1',
  companionImage: 'op:1',
  imagePullPolicy: 'IfNotPresent',
  allowPrivilegedPods: false,
  allowDiscipline: false,
  provenImages: new Set(),
  workersWanted: true,
}
const first = <T>(list: readonly T[] | undefined): T => {
  const item = list?.[0]
  if (item === undefined) throw new Error('the list is empty')
  return item
}

describe('the Deployment of a Node pool', () => {
  const { deployments } = desiredOf(taskQueue(), observed)
  const { template } = first(deployments).spec
  const worker = first(template.spec?.containers)

  it('is named after TaskQueue and pool and belongs to the TaskQueue', () => {
    expect(first(deployments).metadata).toMatchObject({
      name: 'orders-default',
      namespace: 'demo',
      ownerReferences: [{ kind: 'TaskQueue', uid: 'uid-orders', controller: true }],
    })
  })

  it('leaves the number of pods to the scaler', () => {
    expect(first(deployments).spec).not.toHaveProperty('replicas')
  })

  it('covers the longest task with its grace period', () => {
    expect(template.spec?.terminationGracePeriodSeconds).toBe(630)
  })

  it('has a startup, a readiness and a liveness probe', () => {
    expect(worker.startupProbe?.httpGet?.path).toBe('/livez')
    expect(worker.readinessProbe?.httpGet?.path).toBe('/readyz')
    expect(worker.livenessProbe?.httpGet?.path).toBe('/livez')
  })

  it('passes the restricted Pod Security Standard', () => {
    const sidecar = first(template.spec?.initContainers)
    expect(template.spec?.securityContext).toMatchObject({
      runAsNonRoot: true,
      seccompProfile: { type: 'RuntimeDefault' },
    })
    for (const container of [worker, sidecar]) {
      expect(container.securityContext).toMatchObject({
        allowPrivilegeEscalation: false,
        capabilities: { drop: ['ALL'] },
      })
    }
    expect(template.spec?.automountServiceAccountToken).toBe(false)
  })

  it('has the companion as a native sidecar without a probe', () => {
    const sidecar = first(template.spec?.initContainers)
    expect(sidecar).toMatchObject({ name: 'companion', restartPolicy: 'Always', image: 'op:1' })
    expect(sidecar.livenessProbe ?? sidecar.readinessProbe ?? sidecar.startupProbe).toBeUndefined()
  })

  it('takes the broker from the Secret and never its value', () => {
    const urlFrom = { secretKeyRef: { name: 'redis', key: 'url' } }
    const built = desiredOf(taskQueue({ broker: { urlFrom, visibilityTimeoutSeconds: 3600 } }), observed)
    const env = first(first(built.deployments).spec.template.spec?.containers).env
    expect(env?.find((variable) => variable.name === 'TASKQUEUE_BROKER_URL')).toEqual({
      name: 'TASKQUEUE_BROKER_URL',
      valueFrom: urlFrom,
    })
  })

  it('has no companion when clocks are not measured', () => {
    const built = desiredOf(taskQueue({ clockSync: { mode: 'Off', maxSkewSeconds: 60, onSkew: 'Report' } }), observed)
    expect(first(built.deployments).spec.template.spec).not.toHaveProperty('initContainers')
  })

  it('has a beat that holds its fire on skew, unless clocks are not measured', () => {
    const told = (mode: 'Off' | 'Monitor'): unknown => {
      const queue = taskQueue({ beat: beat(), clockSync: { mode, maxSkewSeconds: 60, onSkew: 'HoldBeat' } })
      return desiredOf(queue, observed).beat?.spec.containers[0]?.env?.find(({ name }) => name === 'TASKQUEUE_ON_SKEW')
        ?.value
    }
    expect([told('Monitor'), told('Off')]).toEqual(['HoldBeat', 'Report'])
  })
})

describe('the Deployment of a Celery pool', () => {
  const queue = taskQueue({
    engine: 'Celery',
    app: 'shop',
    clockSync: { mode: 'Off', maxSkewSeconds: 60, onSkew: 'Report' },
  })
  const { template } = first(desiredOf(queue, observed).deployments).spec
  const worker = first(template.spec?.containers)

  it("runs the project's own celery", () => {
    expect(worker.command).toEqual(['celery', '--quiet', '-A', 'shop', 'worker'])
    expect(worker.args).toContain('--queues=default')
  })

  it('is probed through the companion, which it has even without clocks', () => {
    expect(first(template.spec?.initContainers).name).toBe('companion')
    expect(worker.livenessProbe?.httpGet).toMatchObject({ path: '/ping?for=liveness', port: 9809 })
    expect(worker.startupProbe?.httpGet).toMatchObject({ path: '/ping?for=startup', port: 9809 })
    const { failureThreshold = 0, periodSeconds = 0 } = worker.livenessProbe ?? {}
    expect(failureThreshold * periodSeconds).toBeGreaterThanOrEqual(360)
  })

  it('tells the companion by what a pool is stuck', () => {
    const env = first(template.spec?.initContainers).env ?? []
    const value = (name: string): string | undefined => env.find((variable) => variable.name === name)?.value
    expect(value('TASKQUEUE_COMPANION_MAX_TASK_SECONDS')).toBe('600')
    expect(value('TASKQUEUE_COMPANION_STALLED_SECONDS')).toBe('120')
  })

  /** The same, probed by something else. */
  const probedBy = (probe: 'Exec' | 'None'): V1PodSpec | undefined => {
    const workers = (queue.spec.workers ?? []).map((pool) => ({ ...pool, probe }))
    return first(desiredOf({ ...queue, spec: { ...queue.spec, workers } }, observed).deployments).spec.template.spec
  }

  it("is probed by Celery's own command when asked for, and has no companion for it", () => {
    const pod = probedBy('Exec')
    expect(pod?.initContainers).toBeUndefined()
    const { livenessProbe, readinessProbe, startupProbe } = first(pod?.containers)
    expect(livenessProbe?.exec?.command).toEqual(
      expect.arrayContaining([expect.stringMatching(/celery -A "\$0" inspect ping .*-d "celery@\$HOSTNAME"/), 'shop']),
    )
    expect(livenessProbe).toMatchObject({ periodSeconds: 60, timeoutSeconds: 30, failureThreshold: 6 })
    expect([readinessProbe?.exec, startupProbe?.exec]).toEqual(Array(2).fill(livenessProbe?.exec))
  })

  it('is not probed when asked for', () => {
    const container = first(probedBy('None')?.containers)
    for (const kind of ['livenessProbe', 'readinessProbe', 'startupProbe']) expect(container).not.toHaveProperty(kind)
  })

  it('hands Celery the variables that it reads by itself', () => {
    const names = worker.env?.map((variable) => variable.name)
    expect(names).toContain('CELERY_BROKER_URL')
    expect(names).toContain('CELERY_RESULT_BACKEND')
  })
})

describe('beat', () => {
  it('is a bare Pod with OnFailure, no liveness probe and a volume of its own', () => {
    const desired = desiredOf(taskQueue({ beat: beat() }), observed)
    expect(desired.beat).toMatchObject({
      kind: 'Pod',
      metadata: { name: 'orders-beat' },
      spec: { restartPolicy: 'OnFailure' },
    })
    const container = first(desired.beat?.spec.containers)
    expect(container.livenessProbe).toBeUndefined()
    expect(container.readinessProbe?.httpGet?.path).toBe('/readyz')
    expect(desired.volumeClaim).toMatchObject({
      metadata: { name: 'orders-beat' },
      spec: { resources: { requests: { storage: '64Mi' } } },
    })
    expect(desired.beat?.spec.volumes).toContainEqual({
      name: 'state',
      persistentVolumeClaim: { claimName: 'orders-beat' },
    })
  })

  it('keeps a volume that is to be retained free of an owner', () => {
    const retained = desiredOf(taskQueue({ beat: beat({ storage: { size: '1Gi', whenDeleted: 'Retain' } }) }), observed)
    expect(retained.volumeClaim?.metadata.ownerReferences).toBeUndefined()
  })

  it('goes while suspended, its volume stays', () => {
    const suspended = desiredOf(taskQueue({ beat: beat(), suspend: true }), observed)
    expect(suspended.beat).toBeUndefined()
    expect(suspended.volumeClaim).toBeDefined()
  })

  it('of Celery keeps its schedule on the volume', () => {
    const queue = taskQueue({ engine: 'Celery', app: 'shop', beat: beat({ scheduler: 'Celery' }) })
    const container = first(desiredOf(queue, observed).beat?.spec.containers)
    expect(container.command).toEqual(['celery', '--quiet', '-A', 'shop', 'beat'])
    expect(container.args).toContain('--scheduler=celery.beat:PersistentScheduler')
    expect(container.args).toContain('--schedule=/var/lib/taskqueue/celerybeat-schedule')
  })

  it('has a hash that no chart value of the operator changes', () => {
    const hash = (changes: Partial<Observed>): unknown =>
      desiredOf(taskQueue({ beat: beat() }), { ...observed, ...changes }).beat?.metadata.annotations?.[
        'taskqueue.dev/spec-hash'
      ]
    expect(hash({ imagePullPolicy: 'Always', operatorImage: 'op:2', companionImage: 'op:2' })).toBe(hash({}))
  })

  it('of Celery stays on its image until a worker ran Ready on the new one', () => {
    const queue = taskQueue({ engine: 'Celery', image: 'app:2', beat: beat({ scheduler: 'Celery' }) })
    const waiting = desiredOf(queue, { ...observed, beatImage: 'app:1' })
    expect(first(waiting.beat?.spec.containers).image).toBe('app:1')
    expect(waiting.beatImageWaiting).toBe('app:2')
    const proven = desiredOf(queue, { ...observed, beatImage: 'app:1', provenImages: new Set(['app:2']) })
    expect(first(proven.beat?.spec.containers).image).toBe('app:2')
    // No pod is wanted that could ever prove it.
    const alone = desiredOf(queue, { ...observed, beatImage: 'app:1', workersWanted: false })
    expect(first(alone.beat?.spec.containers).image).toBe('app:2')
  })
})

describe('schedules', () => {
  const good = schedule({ name: 'good', cron: '0 3 * * *' })
  const bad = schedule({ name: 'bad', cron: '61 25 * * *' })
  const live: LiveConfigMap = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'orders-schedules', namespace: 'demo' },
    data: { 'schedules.yaml': 'schedules: [{name: earlier}]\n' },
  }

  it('go into the ConfigMap in the form that beat reads', () => {
    const { schedules } = desiredOf(
      taskQueue({ beat: beat({ timeZone: 'Asia/Shanghai', schedules: [good] }) }),
      observed,
    )
    expect(parse(schedules?.data?.['schedules.yaml'] ?? '')).toEqual({ timeZone: 'Asia/Shanghai', schedules: [good] })
  })

  it('that can not be read keep the last good set as it is', () => {
    const desired = desiredOf(taskQueue({ beat: beat({ schedules: [good, bad] }) }), { ...observed, schedules: live })
    expect(desired.schedules?.data).toEqual(live.data)
    expect(desired.scheduleProblems).toHaveLength(1)
    expect(desired.scheduleProblems[0]).toMatch(/bad.*61 25/)
    expect(desired.beat).toBeDefined()
  })

  it('that can be read start alone where there is no last good set', () => {
    const { schedules } = desiredOf(taskQueue({ beat: beat({ schedules: [good, bad] }) }), observed)
    expect(schedules?.data?.['schedules.yaml']).toContain('good')
    expect(schedules?.data?.['schedules.yaml']).not.toContain('bad')
  })

  it('need a zone that exists', () => {
    const { scheduleProblems } = desiredOf(
      taskQueue({ beat: beat({ timeZone: 'Mars/Olympus', schedules: [good] }) }),
      observed,
    )
    expect(scheduleProblems[0]).toMatch(/spec\.beat\.timeZone: .*Mars\/Olympus/)
  })
})

describe('a podTemplate that is refused', () => {
  const refused = (spec: Record<string, unknown>, allowPrivilegedPods = false): string[] =>
    desiredOf(taskQueue({ podTemplate: { spec } }), { ...observed, allowPrivilegedPods }).templateProblems

  it.each([
    ['restartPolicy', { restartPolicy: 'Never' }],
    ['terminationGracePeriodSeconds', { terminationGracePeriodSeconds: 1 }],
    ['hostNetwork', { hostNetwork: true }],
    ['hostPort', { containers: [{ name: 'worker', ports: [{ containerPort: 80, hostPort: 80 }] }] }],
    ['nfs', { volumes: [{ name: 'x', nfs: { server: 'x', path: '/' } }] }],
    ['sysctls', { securityContext: { sysctls: [{ name: 'kernel.msgmax', value: '1' }] } }],
    ['appArmorProfile', { securityContext: { appArmorProfile: { type: 'Unconfined' } } }],
    ['seLinuxOptions', { securityContext: { seLinuxOptions: { type: 'spc_t' } } }],
    ['runAsNonRoot', { containers: [{ name: 'worker', securityContext: { runAsNonRoot: false } }] }],
    ['capabilities.drop', { containers: [{ name: 'worker', securityContext: { capabilities: { drop: [] } } }] }],
    ['capabilities.drop', { containers: [{ name: 'worker', securityContext: { capabilities: null } }] }],
    [
      'allowPrivilegeEscalation',
      { containers: [{ name: 'worker', securityContext: { allowPrivilegeEscalation: null } }] },
    ],
    ['NET_ADMIN', { containers: [{ name: 'worker', securityContext: { capabilities: { add: ['NET_ADMIN'] } } }] }],
    ['procMount', { containers: [{ name: 'worker', securityContext: { procMount: 'Unmasked' } }] }],
    [
      'probe or hook',
      { containers: [{ name: 'worker', livenessProbe: { httpGet: { host: '169.254.169.254', port: 80 } } }] },
    ],
    ['automountServiceAccountToken', { automountServiceAccountToken: true }],
    ['service account', { volumes: [{ name: 'x', projected: { sources: [{ serviceAccountToken: { path: 't' } }] } }] }],
    ['hostUsers', { hostUsers: true }],
    ['initContainers must be a list', { initContainers: null }],
    ['initContainers must be a list', { initContainers: 'x' }],
    ['containers must be a list', { containers: [null] }],
    ['env must be a list', { containers: [{ name: 'worker', env: [{ value: 'nameless' }] }] }],
    ['serviceAccountName', { serviceAccountName: 'admin' }],
    ['hostPath', { volumes: [{ name: 'x', hostPath: { path: '/' } }] }],
    ['securityContext', { containers: [{ name: 'worker', securityContext: { privileged: true } }] }],
    ['securityContext', { securityContext: { runAsUser: 0 } }],
    ['companion', { initContainers: [{ name: 'companion', image: 'evil' }] }],
    ['$patch', { containers: [{ name: 'worker', $patch: 'delete' }] }],
  ])('says why: %s', (word, spec) => {
    const problems = refused(spec)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(word)
  })

  it('judges the whole pod: an extra container, and a context that was removed', () => {
    const extra = refused({ containers: [{ name: 'extra', image: 'x' }] })
    expect(extra.join()).toContain('containers["extra"].securityContext.allowPrivilegeEscalation must be false')
    const bare = refused({ securityContext: null })
    expect(bare.join()).toMatch(/containers\["worker"\].*runAsNonRoot must be true/)
    expect(bare.join()).toMatch(/initContainers\["companion"\].*seccompProfile/)
  })

  it('is not got around by a prototype, nor by an annotation', () => {
    const context =
      '{"securityContext":null,"automountServiceAccountToken":null,"__proto__":{"automountServiceAccountToken":false}}'
    expect(refused(JSON.parse(context) as Record<string, unknown>).join()).toContain('__proto__')
    const annotations = { 'container.apparmor.security.beta.kubernetes.io/worker': 'unconfined' }
    const queue = taskQueue({ podTemplate: { metadata: { annotations } } })
    expect(desiredOf(queue, observed).templateProblems.join()).toContain('apparmor')
  })

  it('is told once for all pods that it is in', () => {
    const pools = [0, 1, 2].map((n) => ({ ...first(taskQueue().spec.workers), name: `p${n}` }))
    const queue = taskQueue({ workers: pools, beat: beat(), podTemplate: { spec: { hostPID: true } } })
    const problems = desiredOf(queue, observed).templateProblems
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain('orders-p0, orders-p1, orders-p2, orders-beat')
  })

  it('accepts what a restricted pod may have, whatever its keys are called', () => {
    const spec = {
      nodeSelector: { env: 'prod', ports: 'x' },
      securityContext: { runAsUser: 1000 },
      volumes: [{ name: 'x', emptyDir: { sizeLimit: '1Gi' } }],
      containers: [{ name: 'worker', env: [{ name: 'A', value: 'b' }], constructor: 'x' }],
      tolerations: [{ key: 'x' }],
    }
    expect(refused(spec)).toEqual([])
  })

  it('tears nothing down', () => {
    const desired = desiredOf(taskQueue({ podTemplate: { spec: { hostNetwork: true } } }), observed)
    expect(desired.deployments).toEqual([])
    expect(desired.templateProblems).not.toEqual([])
  })

  it('is accepted where the platform team allows it', () => {
    expect(refused({ hostNetwork: true, serviceAccountName: 'x' }, true)).toEqual([])
  })
})
