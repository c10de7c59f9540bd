// Jobs in Redis: they outlive the process, and the processes of several machines share them.
import { effectivePrefix } from '../broker/redis/connection-options.ts'
import { RedisConnection } from '../broker/redis/connection.ts'
import { runScript, type ScriptCall } from '../broker/redis/scripts.ts'
import { parseBrokerUrl } from '../broker/redis/url.ts'
import type { JobRecord, JobStore, RunRecord } from './job-store.ts'

export interface RedisJobStoreOptions {
  /** As TASKQUEUE_BROKER_URL; see docs/brokers.md. */
  readonly url: string
  /** Schedulers of one name share their jobs. Default `default`. */
  readonly name?: string
  /** Goes before every key. */
  readonly keyPrefix?: string
}

const CONNECT_MS = 5000

export class RedisJobStore implements JobStore {
  readonly persistent = true
  readonly shared = true
  readonly #options: Required<RedisJobStoreOptions>
  readonly #keys: Readonly<Record<'jobs' | 'next' | 'paused' | 'runs' | 'claims', string>>
  readonly #base: string
  #connection: RedisConnection | undefined

  /** @throws BrokerError `BrokerUrlInvalid` */
  constructor({ url, name = 'default', keyPrefix = '' }: RedisJobStoreOptions) {
    const prefix = effectivePrefix(parseBrokerUrl(url), keyPrefix)
    this.#options = { url, name, keyPrefix: prefix }
    const base = `${prefix}taskqueue:scheduler:${name}:`
    this.#base = base
    this.#keys = {
      jobs: `${base}jobs`,
      next: `${base}next`,
      paused: `${base}paused`,
      runs: `${base}runs`,
      claims: `${base}claims`,
    }
  }

  /** @throws BrokerError when Redis doesn't answer within 5 s */
  async open(): Promise<void> {
    const { url, keyPrefix } = this.#options
    this.#connection ??= new RedisConnection({ url, keyPrefix, name: 'taskqueue:scheduler' })
    await this.#connection.whenReady(CONNECT_MS)
  }

  close(): Promise<void> {
    this.#connection?.close()
    this.#connection = undefined
    return Promise.resolve()
  }

  async list(): Promise<JobRecord[]> {
    const { jobs, next, paused } = this.#keys
    return this.#run(async (redis) => {
      const [records, slots, stopped] = await Promise.all([
        redis.hgetall(jobs),
        redis.hgetall(next),
        redis.smembers(paused),
      ])
      const pausedIds = new Set(stopped)
      return Object.entries(records).map(([id, json]) => jobOf(json, slots[id], pausedIds.has(id)))
    })
  }

  async get(id: string): Promise<JobRecord | undefined> {
    const { jobs, next, paused } = this.#keys
    return this.#run(async (redis) => {
      const [json, slot, stopped] = await Promise.all([
        redis.hget(jobs, id),
        redis.hget(next, id),
        redis.sismember(paused, id),
      ])
      return json === null ? undefined : jobOf(json, slot ?? '', stopped === 1)
    })
  }

  async put({ nextRunAt, paused, ...record }: JobRecord): Promise<void> {
    const keys = this.#keys
    await this.#run(async (redis) => {
      const steps = redis
        .multi()
        .hset(keys.jobs, record.id, JSON.stringify(record))
        .hset(keys.next, record.id, nextRunAt ?? '')
      if (paused) steps.sadd(keys.paused, record.id)
      else steps.srem(keys.paused, record.id)
      for (const [error] of (await steps.exec()) ?? []) if (error) throw error
    })
  }

  async remove(id: string): Promise<boolean> {
    const { jobs, next, paused } = this.#keys
    return this.#run(async (redis) => {
      const replies = await redis.multi().hdel(jobs, id).hdel(next, id).srem(paused, id).exec()
      return replies?.[0]?.[1] === 1
    })
  }

  async claim(
    id: string,
    expected: number,
    next: number | null,
    runs: readonly RunRecord[],
    maxInstances: number,
  ): Promise<number | undefined> {
    const keys = this.#keys
    const ours = await this.#script({
      name: 'claim-run',
      keys: [keys.next, keys.paused, keys.runs, keys.claims, this.#runsOf(id)],
      args: [
        id,
        expected,
        next ?? '',
        maxInstances,
        ...runs.flatMap((run) => [run.id, JSON.stringify(run), run.leaseUntil]),
      ],
    })
    return ours === -1 ? undefined : Number(ours)
  }

  async renew(runIds: readonly string[], leaseUntil: number): Promise<void> {
    const members = runIds.flatMap((id) => [leaseUntil, id])
    await this.#run((redis) => redis.zadd(this.#keys.claims, 'XX', ...members))
  }

  async finish({ id, jobId }: RunRecord): Promise<void> {
    const { runs, claims } = this.#keys
    await this.#run((redis) => redis.multi().hdel(runs, id).zrem(claims, id).srem(this.#runsOf(jobId), id).exec())
  }

  async takeLost(now: number, leaseUntil: number): Promise<RunRecord[]> {
    const { runs, claims } = this.#keys
    const lost = await this.#script({ name: 'take-lost-runs', keys: [runs, claims], args: [now, leaseUntil] })
    return (Array.isArray(lost) ? (lost as unknown[]) : [])
      .filter((json) => typeof json === 'string')
      .map((json) => ({ ...(JSON.parse(json) as RunRecord), leaseUntil }))
  }

  #runsOf(jobId: string): string {
    return `${this.#base}runs-of:${jobId}`
  }

  #script(call: ScriptCall): Promise<unknown> {
    return this.#run((redis) => runScript(redis, call))
  }

  async #run<T>(run: (redis: RedisConnection['redis']) => Promise<T>): Promise<T> {
    const connection = this.#connection
    if (!connection) throw new Error('the store is not open')
    await connection.whenReady(CONNECT_MS)
    try {
      return await run(connection.redis)
    } catch (error) {
      throw connection.coded(error)
    }
  }
}

function jobOf(json: string, slot: string | undefined, paused: boolean): JobRecord {
  const record = JSON.parse(json) as Omit<JobRecord, 'nextRunAt' | 'paused'>
  return { ...record, nextRunAt: slot === undefined || slot === '' ? null : Number(slot), paused }
}
