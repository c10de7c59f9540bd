// What Redis itself can do on this machine, in the same run: the ceiling beside which the figures stand.

import { run } from '../../deploy/local/command.ts'
import { encodeTask } from '../../src/runtime/protocol/task-message.ts'
import { uuid4 } from '../../src/runtime/protocol/uuid.ts'
import { QUEUE } from './entrants.ts'

export interface RedisLimits {
  /** PINGs a second, one after another on one connection. */
  readonly roundTrips: number
  /** LPUSH of one of our messages, a second, 100 in a pipeline. */
  readonly pushes: number
  /** LPUSH and RPOP together, a second: a queue that promises nothing. */
  readonly pushesAndPops: number
  readonly messageBytes: number
}

const PIPELINE = 100

export async function redisLimits(port: number): Promise<RedisLimits> {
  const { raw } = encodeTask({
    id: uuid4(),
    task: 'bench.job',
    args: [1, 0, 'x'.repeat(100)],
    queue: QUEUE,
    priority: 0,
    ignoreResult: true,
  })
  const benchmark = async (count: number, pipeline: number, clients: number, ...command: string[]): Promise<number> => {
    const flags = ['-p', String(port), '-n', String(count), '-P', String(pipeline), '-c', String(clients), '-q']
    const said = await run('redis-benchmark', [...flags, ...command], { timeoutSeconds: 120 })
    return Number(/([\d.]+) requests per second/.exec(said.split('\r').at(-1) ?? said)?.[1])
  }
  const roundTrips = await benchmark(50_000, 1, 1, 'PING')
  const pushes = await benchmark(200_000, PIPELINE, 1, 'LPUSH', 'bench:limit', raw)
  const pops = await benchmark(200_000, PIPELINE, 1, 'RPOP', 'bench:limit')
  return { roundTrips, pushes, pushesAndPops: 1 / (1 / pushes + 1 / pops), messageBytes: Buffer.byteLength(raw) }
}
