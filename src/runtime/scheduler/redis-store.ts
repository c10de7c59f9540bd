// Jobs in Redis: they outlive the process, and the processes of several machines share them.
import { effectivePrefix } from '../broker/redis/connection-options.ts'
import { RedisConnection } from '../broker/redis/connection.ts'
import { runScript, type ScriptCall } from '../broker/redis/scripts.ts'
import { parseBrokerUrl } from '../broker/redis/url.ts'
import type { BrokerTime } from '../broker/store.ts'
import { measureTime } from '../broker/redis/measure-time.ts'
import type { ClaimTerms, JobChange, JobRecord, JobStore, RunRecord } from './job-store.ts'

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
  readonly #keys: Readonly<Record<'jobs' | 'triggers' | 'next' | 'paused' | 'runs' | 'claims', string>>
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
      triggers: `${base}triggers`,
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

  time(): Promise<BrokerTime> {
    return this.#run(measureTime)
  }

  close(): Promise<void> {
    this.#connection?.close()
    this.#connection = undefined
    return Promise.resolve()
  }

  async list(): Promise<JobRecord[]> {
    const { jobs, triggers, next, paused } = this.#keys
    return this.#run(async (redis) => {
      const [records, kept, slots, stopped] = await Promise.all([
        redis.hgetall(jobs),
        redis.hgetall(triggers),
        redis.hgetall(next),
        redis.smembers(paused),
      ])
      const pausedIds = new Set(stopped)
      return Object.entries(records).flatMap(([id, json]) => jobOf(json, kept[id], slots[id], pausedIds.has(id)) ?? [])
    })
  }

  async get(id: string): Promise<JobRecord | undefined> {
    const { jobs, triggers, next, paused } = this.#keys
    return this.#run(async (redis) => {
      const [json, trigger, slot, stopped] = await Promise.all([
        redis.hget(jobs, id),
        redis.hget(triggers, id),
        redis.hget(next, id),
        redis.sismember(paused, id),
      ])
      return json === null ? undefined : jobOf(json, trigger ?? undefined, slot ?? undefined, stopped === 1)
    })
  }

  async add({ nextRunAt, paused, trigger, ...record }: JobRecord): Promise<void> {
    const keys = this.#keys
    const args = [record.id, JSON.stringify(record), JSON.stringify(trigger), nextRunAt ?? '']
    await this.#script({ name: 'add-job', keys: [keys.jobs, keys.triggers, keys.next], args })
    if (paused) await this.#run((redis) => redis.sadd(keys.paused, record.id))
  }

  async change(id: string, { paused, trigger, nextRunAt }: JobChange): Promise<boolean> {
    const keys = this.#keys
    return this.#run(async (redis) => {
      if ((await redis.hexists(keys.jobs, id)) === 0) return false
      const steps = redis.multi()
      if (trigger !== undefined) steps.hset(keys.triggers, id, JSON.stringify(trigger))
      if (nextRunAt !== undefined) steps.hset(keys.next, id, nextRunAt ?? '')
      if (paused === true) steps.sadd(keys.paused, id)
      if (paused === false) steps.srem(keys.paused, id)
      for (const [error] of (await steps.exec()) ?? []) if (error) throw error
      return true
    })
  }

  async remove(id: string): Promise<boolean> {
    const { jobs, triggers, next, paused } = this.#keys
    return this.#run(async (redis) => {
      const replies = await redis.multi().hdel(jobs, id).hdel(triggers, id).hdel(next, id).srem(paused, id).exec()
      return replies?.[0]?.[1] === 1
    })
  }

  async claim(
    id: string,
    expected: number,
    next: number | null,
    runs: readonly RunRecord[],
    { maxInstances, leaseMs }: ClaimTerms & { readonly maxInstances: number },
  ): Promise<number | undefined> {
    const keys = this.#keys
    const ours = await this.#script({
      name: 'claim-run',
      keys: [keys.next, keys.paused, keys.runs, keys.claims, this.#runsOf(id)],
      args: [id, expected, next ?? '', maxInstances, leaseMs, ...runs.flatMap((run) => [run.id, JSON.stringify(run)])],
    })
    return ours === -1 ? undefined : Number(ours)
  }

  async renew(runIds: readonly string[], { leaseMs }: ClaimTerms): Promise<void> {
    await this.#script({ name: 'renew-runs', keys: [this.#keys.claims], args: [leaseMs, ...runIds] })
  }

  async finish({ id, jobId }: RunRecord): Promise<void> {
    const { runs, claims } = this.#keys
    await this.#run((redis) => redis.multi().hdel(runs, id).zrem(claims, id).srem(this.#runsOf(jobId), id).exec())
  }

  async takeLost({ leaseMs }: ClaimTerms): Promise<RunRecord[]> {
    const { runs, claims } = this.#keys
    const lost = await this.#script({ name: 'take-lost-runs', keys: [runs, claims], args: [leaseMs] })
    return (Array.isArray(lost) ? (lost as unknown[]) : [])
      .filter((json) => typeof json === 'string')
      .map((json) => JSON.parse(json) as RunRecord)
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

/** Undefined for one that is being removed. */
function jobOf(
  json: string,
  trigger: string | undefined,
  slot: string | undefined,
  paused: boolean,
): JobRecord | undefined {
  if (trigger === undefined) return undefined
  const record = JSON.parse(json) as Omit<JobRecord, 'nextRunAt' | 'paused' | 'trigger'>
  const kept = JSON.parse(trigger) as JobRecord['trigger']
  return { ...record, trigger: kept, nextRunAt: slot === undefined || slot === '' ? null : Number(slot), paused }
}
