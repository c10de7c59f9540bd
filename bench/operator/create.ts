// From nothing to all children: the operator, the raw loader with the very same objects, and two rivals, one after the other in one run,
// each on a fresh API server. Timed by the audit log: from the first TaskQueue's request to the answer to the last child's.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { KubeObject } from '../../src/operator/objects.ts'
import { startRedis } from '../../test/fixtures/redis-server.ts'
import { applied } from './applied.ts'
import { tally, type Request } from './audit.ts'
import { say, seconds } from './figures.ts'
import { OPERATOR, settled, startOperator } from './fleet.ts'
import { CONNECTIONS, load } from './loader.ts'
import { MachineTime } from './machine.ts'
import type { Options } from './options.ts'
import { Plane } from './plane.ts'
import type { Program } from './program.ts'
import { childKinds, childrenEach, childrenOf, createAll, listAll, nameOf, taskQueue } from './queues.ts'
import { controllerRuntime, kopf, type Rival } from './rivals.ts'

/** How long it took, by the clock and in seconds of CPU of all who had to do with it, API server included. */
interface Taken {
  readonly ms: number
  readonly cpuSeconds: number
}

/** Of kopf, which would take many minutes: so many times fewer TaskQueues. */
const KOPF_SHARE = 10

export async function create(options: Options): Promise<void> {
  const { queues } = options
  say(
    `create: ${queues} TaskQueues of two pools (${options.replicas} pods each) and a beat, ${queues * childrenEach} children, each on a fresh API server`,
  )
  const ours = await runOperator(options)
  const chosen = new Set(options.contestants)
  const loaded = chosen.has('loader') ? await runLoader(ours.objects, queues) : undefined
  const go = chosen.has('controller-runtime')
    ? await runRival(controllerRuntime, queues, ours.template, options)
    : undefined
  const few = options.kopfQueues > 0 ? options.kopfQueues : Math.max(1, Math.round(queues / KOPF_SHARE))
  const python = chosen.has('kopf') ? await runRival(kopf, few, ours.template, options) : undefined
  say('  ratios by the clock, and by seconds of CPU, which others on the machine change less:')
  if (loaded) {
    say(`  operator / loader: ${ratio(ours, loaded.objects)} (wanted <= 1.5)`)
    say(`  operator / loader with the TaskQueues: ${ratio(ours, loaded.withQueues)}`)
  }
  if (go) say(`  operator / controller-runtime: ${ratio(ours, go)} (wanted <= 1)`)
  if (python) {
    const asMany = { ms: (python.ms * queues) / few, cpuSeconds: (python.cpuSeconds * queues) / few }
    say(`  kopf / operator, from ${few} TaskQueues of kopf: ${ratio(asMany, ours)} (wanted >= 5)`)
  }
}

function ratio(a: Taken, b: Taken): string {
  return `${(a.ms / b.ms).toFixed(2)}, ${(a.cpuSeconds / b.cpuSeconds).toFixed(2)}`
}

interface Made extends Taken {
  readonly objects: readonly KubeObject[]
  /** One TaskQueue's children, with placeholders for its name and UID. */
  readonly template: string
}

async function runOperator(options: Options): Promise<Made> {
  const plane = await Plane.start()
  const redis = await startRedis()
  const operator = await startOperator(plane, options)
  try {
    const time = new MachineTime()
    await createAll(plane.client, queuesOf(options.queues, redis.url))
    await childrenOf(plane.client, options.queues)
    const taken = await tell('operator', plane, OPERATOR, { program: operator.program, time })
    const at = await settled(operator)
    const requests = (await plane.audit.requests()).filter(({ user }) => user === OPERATOR)
    say(
      `    settled ${seconds(at - (await firstQueue(plane)).receivedAt)} after the first TaskQueue; asked in all: ${tally(requests)}`,
    )
    const live = (await Promise.all(childKinds.map(([kind]) => listAll(plane.client, kind)))).flat()
    const objects = inOrder(live).map(applied)
    return { ...taken, objects, template: templateOf(objects) }
  } finally {
    await operator.program.end()
    await redis.close()
    await plane.stop()
  }
}

/** The objects alone, and before them the TaskQueues, which every operator's time has in it as well. */
async function runLoader(
  objects: readonly KubeObject[],
  queues: number,
): Promise<{ readonly objects: Taken; readonly withQueues: Taken }> {
  const plane = await Plane.start()
  const wire = await plane.wireOf('loader', CONNECTIONS)
  try {
    const [from, all] = [performance.now(), new MachineTime()]
    await createAll(plane.client, queuesOf(queues, 'redis://127.0.0.1:6379/0'))
    const queuesMs = performance.now() - from
    const time = new MachineTime()
    await load(wire, objects)
    const [spent, cpuSeconds, allSeconds] = [String(time), time.ownSeconds(), all.ownSeconds()]
    const made = created(await plane.audit.requests(), 'loader')
    const ms = (made.at(-1)?.answeredAt ?? NaN) - Math.min(...made.map(({ receivedAt }) => receivedAt))
    say(
      `  ${row('loader', ms, made.length)}; ${CONNECTIONS} connections; before it ${queues} TaskQueues in ${seconds(queuesMs)}`,
    )
    say(`    ${spent}`)
    return { objects: { ms, cpuSeconds }, withQueues: { ms: ms + queuesMs, cpuSeconds: allSeconds } }
  } finally {
    wire.close()
    await plane.stop()
  }
}

async function runRival(rival: Rival, queues: number, template: string, options: Options): Promise<Taken> {
  const plane = await Plane.start()
  const redis = await startRedis()
  const file = join(plane.folder, 'template.json')
  await writeFile(file, template)
  const program = await rival.start(plane, file, options)
  try {
    const time = new MachineTime()
    await createAll(plane.client, queuesOf(queues, redis.url))
    await childrenOf(plane.client, queues)
    const taken = await tell(rival.user, plane, rival.user, { program, time })
    say(`    ${rival.about}`)
    const requests = (await plane.audit.requests()).filter(({ user }) => user === rival.user)
    say(`    asked until then: ${tally(requests)}`)
    return taken
  } finally {
    await program.end('SIGKILL')
    await redis.close()
    await plane.stop()
  }
}

function queuesOf(count: number, url: string): KubeObject[] {
  return Array.from({ length: count }, (_, i) => taskQueue(nameOf(i), url))
}

interface Run {
  readonly program: Program
  readonly time: MachineTime
}

async function tell(label: string, plane: Plane, user: string, { program, time }: Run): Promise<Taken> {
  const [spent, cpuSeconds] = [String(time), time.ownSeconds()]
  const { rss, peak } = program.memory()
  const made = created(await plane.audit.requests(), user)
  const ms = (made.at(-1)?.answeredAt ?? NaN) - (await firstQueue(plane)).receivedAt
  say(`  ${row(label, ms, made.length)}; RSS ${rss} MiB (peak ${peak})`)
  say(`    ${spent}`)
  return { ms, cpuSeconds }
}

function row(label: string, ms: number, objects: number): string {
  return `${label}: ${seconds(ms)}, ${objects} objects, ${((objects / ms) * 1000).toFixed(0)} a second`
}

async function firstQueue(plane: Plane): Promise<Request> {
  const first = (await plane.audit.requests()).find(
    ({ verb, resource }) => verb === 'create' && resource === 'taskqueues',
  )
  if (!first) throw new Error('no TaskQueue was created')
  return first
}

/** The requests of a user that made a child, the last answered last. */
function created(requests: readonly Request[], user: string): Request[] {
  const kinds = new Set(childKinds.map(([kind]) => kind.plural))
  return requests
    .filter(
      (request) => request.user === user && request.code === 201 && !request.dryRun && kinds.has(request.resource),
    )
    .sort((a, b) => a.answeredAt - b.answeredAt)
}

/** TaskQueue by TaskQueue, as an operator makes them. */
function inOrder(objects: readonly KubeObject[]): KubeObject[] {
  const ownerOf = (object: KubeObject): string => object.metadata.ownerReferences?.[0]?.name ?? ''
  return objects.toSorted((a, b) => ownerOf(a).localeCompare(ownerOf(b)))
}

function templateOf(objects: readonly KubeObject[]): string {
  const owner = objects[0]?.metadata.ownerReferences?.[0]
  if (!owner) throw new Error('the operator made nothing')
  const own = objects.filter((object) => object.metadata.ownerReferences?.[0]?.uid === owner.uid)
  return JSON.stringify(own).replaceAll(owner.uid, '@UID@').replaceAll(owner.name, '@NAME@')
}
