// A CRD that is older than the operator, and TaskQueues that were stored under it: the resource had a few fields only then, without a default
// or a rule among them.

import { pino } from 'pino'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { deployments, pods, taskQueues } from '../../../src/operator/kube/resources.ts'
import type { KubeObject, LiveDeployment } from '../../../src/operator/objects.ts'
import type { TaskQueue } from '../../../src/operator/taskqueue.ts'
import { ControlPlane } from '../../fixtures/controlplane.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { startRedis, type RedisServer } from '../../fixtures/redis-server.ts'

type Schema = Record<string, unknown> & { properties?: Record<string, Schema>; items?: Schema }
type Definition = KubeObject & { spec: { versions: { schema: { openAPIV3Schema: Schema } }[] } }

const PATH = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/taskqueues.taskqueue.dev'
/** What the resource began with. */
const FIRST = ['engine', 'image', 'app', 'broker', 'url', 'workers', 'name', 'replicas', 'beat', 'schedules', 'task']
const TRIGGERS = ['everySeconds', 'cron']

let plane: ControlPlane
let redis: RedisServer
let current: Definition

beforeAll(async () => {
  redis = await startRedis()
  plane = await ControlPlane.start()
  current = (await plane.client.json('GET', PATH)) as Definition
})
afterAll(async () => {
  await plane.stop()
  await redis.close()
})

/** The schema as it might have been: fields left out, and no defaults, rules or bounds. */
function older(schema: Schema): Schema {
  const { type, properties, items } = schema
  const keep = ([name]: [string, unknown]): boolean => [...FIRST, ...TRIGGERS].includes(name)
  const fields = Object.entries(properties ?? {}).filter(keep)
  return {
    type,
    ...(properties ? { properties: Object.fromEntries(fields.map(([name, field]) => [name, older(field)])) } : {}),
    ...(items ? { items: older(items) } : {}),
  }
}

/** A status as it was before patrol. */
function withoutNewest({ properties, ...rest }: Schema): Schema {
  const { patrol, deadLetters, ...kept } = properties ?? {}
  expect([patrol, deadLetters]).not.toContain(undefined)
  return { ...rest, properties: kept }
}

/** Puts a definition in the place of the one that is there. */
async function define(schema: Schema): Promise<void> {
  const { metadata } = (await plane.client.json('GET', PATH)) as Definition
  const [version] = current.spec.versions
  const versions = [{ ...version, schema: { openAPIV3Schema: schema } }]
  const spec = { ...current.spec, versions }
  await plane.client.json('PUT', PATH, { body: { ...current, metadata, spec } })
}

it('of an older schema get what has been added since by its defaults, and their children without a second write', async () => {
  const [version] = current.spec.versions
  const now = version?.schema.openAPIV3Schema ?? expect.fail('the CRD has no schema')
  const { spec = {} } = now.properties ?? {}
  const status = withoutNewest(now.properties?.['status'] ?? {})
  await define({ type: 'object', properties: { spec: older(spec), status } })
  const schedules = [{ name: 'a', task: 't', everySeconds: 30 }]
  const written = {
    ...{ engine: 'Node', image: 'registry.example/app:1', app: './tasks.js', broker: { url: redis.url } },
    ...{ workers: [{ name: 'default', replicas: 2 }], beat: { schedules } },
  }
  // The server takes a while to forget the newer schema: then it stores what was written, and nothing else.
  await eventually(async () => {
    await plane.client.delete(taskQueues, 'demo', 'older')
    expect((await plane.create({ name: 'older', spec: written })).spec).toEqual(written)
  })

  // The operator comes before the CRD of its release: it works by its own defaults, and says that the CRD is old.
  const said: string[] = []
  const log = pino({ level: 'warn' }, { write: (line: string) => void said.push(line) })
  plane.startOperator(undefined, { inspection: { patrol: { everyMs: 1_000 } }, log })
  expect((await eventually(() => plane.get<LiveDeployment>(deployments, 'older-default'))).spec.replicas).toBe(2)
  await eventually(() => plane.get(pods, 'older-beat'))
  await plane.condition('older', 'BrokerReachable', 'True')
  await plane.settled('older')
  expect(said.filter((line) => line.includes('"field":"spec.patrol"'))).toHaveLength(1)
  expect((await plane.get<TaskQueue>(taskQueues, 'older')).spec).toEqual(written)
  // What patrol tells has no place in this status: the rest is told all the same, and nothing is written again and again.
  await plane.condition('older', 'SchedulesOnTime', 'False', 'ScheduleMissing')
  await plane.settled('older')
  expect((await plane.get<TaskQueue>(taskQueues, 'older')).status).not.toHaveProperty('patrol')
  await define(now)
  await eventually(async () => {
    const { spec: found } = await plane.get<TaskQueue>(taskQueues, 'older')
    expect(found).toMatchObject({ environment: 'Production', suspend: false, clockSync: { mode: 'Monitor' } })
  })
  await plane.settled('older')
  const writes = plane.writesAbout('older').length
  // A change by somebody who knows the first fields only.
  await plane.patch('older', { workers: [{ name: 'default', replicas: 3 }] })
  await eventually(async () =>
    expect((await plane.get<LiveDeployment>(deployments, 'older-default')).spec.replicas).toBe(3),
  )
  await plane.settled('older')
  expect(plane.writesAbout('older').slice(writes)).toEqual([
    'patch deployments/older-default/scale',
    'patch taskqueues/older/status',
  ])
})
