// The operator as its image runs it, a process of its own, over so many TaskQueues whose broker is a real redis-server.
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as delay } from 'node:timers/promises'
import { startRedis, type RedisServer } from '../../test/fixtures/redis-server.ts'
import { until } from '../../test/fixtures/until.ts'
import { isWrite } from './audit.ts'
import type { Options } from './options.ts'
import { Plane } from './plane.ts'
import { Program } from './program.ts'
import { childrenOf, createAll, nameOf, taskQueue } from './queues.ts'

export const OPERATOR = 'taskqueue-operator'
const MAIN = fileURLToPath(new URL('../../src/operator/dist/main.js', import.meta.url))

export interface Operator {
  readonly program: Program
  /** A figure of its metrics; 0 when it has none of the name. */
  readonly metric: (name: string) => Promise<number>
}

/** Starts it and waits until it leads and its caches are in sync. */
export async function startOperator(plane: Plane, options: Options): Promise<Operator> {
  const { concurrency, nodeFlags, profile } = options
  const flags = profile === '' ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]
  const program = new Program(
    join(plane.folder, `operator-${Date.now()}.log`),
    [process.execPath, ...nodeFlags, ...flags, MAIN],
    {
      KUBECONFIG: await plane.kubeconfigOf(OPERATOR),
      TASKQUEUE_OPERATOR_IMAGE: 'registry.example/operator:1',
      TASKQUEUE_OPERATOR_PORT: '0',
      TASKQUEUE_OPERATOR_CONCURRENCY: String(concurrency),
    },
  )
  const [, port = ''] = await program.says(/"port":(\d+)/)
  const url = `http://127.0.0.1:${port}`
  await until('the operator leads', async () => (await (await fetch(`${url}/readyz`)).text()) === 'leading\n', 120)
  const metric = async (name: string): Promise<number> => {
    const text = await (await fetch(`${url}/metrics`)).text()
    const values = [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))]
    return values.reduce((sum, [, value]) => sum + Number(value), 0)
  }
  return { program, metric }
}

/**
 * Waits until no key waits and no reconcile has ended for a while: then none is under way. Resolves with the time of the last one, to a
 * fifth of a second, in milliseconds since the epoch.
 */
export async function settled({ metric }: Operator, quietMs = 5_000, seconds = 600): Promise<number> {
  let [done, at] = [-1, Date.now()]
  const deadline = Date.now() + seconds * 1000
  for (;;) {
    const [depth, count] = [
      await metric('taskqueue_operator_workqueue_depth'),
      await metric('taskqueue_operator_reconciles_total'),
    ]
    if (depth > 0 || count !== done) [done, at] = [count, Date.now()]
    if (Date.now() - at >= quietMs) return at
    if (Date.now() > deadline) throw new Error(`the operator is not settled after ${seconds} s: ${depth} keys wait`)
    await delay(200)
  }
}

/** Waits until the operator has written nothing for ten seconds: Events come after what they are about. */
async function quiet(plane: Plane): Promise<void> {
  for (;;) {
    const from = Date.now()
    await delay(10_000)
    const since = await plane.audit.requests(from)
    if (!since.some((each) => each.user === OPERATOR && isWrite(each) && each.resource !== 'leases')) return
  }
}

/** A plane, a broker and an operator that has made everything of its TaskQueues and is quiet. */
export interface Fleet {
  readonly plane: Plane
  readonly redis: RedisServer
  operator: Operator
}

export async function withFleet<T>(options: Options, queues: number, work: (fleet: Fleet) => Promise<T>): Promise<T> {
  const plane = await Plane.start()
  const redis = await startRedis()
  let fleet: Fleet | undefined
  try {
    fleet = { plane, redis, operator: await startOperator(plane, options) }
    await createAll(
      plane.client,
      Array.from({ length: queues }, (_, i) => taskQueue(nameOf(i), redis.url)),
    )
    await childrenOf(plane.client, queues)
    await settled(fleet.operator)
    await quiet(plane)
    return await work(fleet)
  } finally {
    await fleet?.operator.program.end()
    await redis.close()
    await plane.stop()
  }
}
