// Redis as a Store: presence, leases, cursors, results, dead letters.
import { systemClock } from '../../clock.ts'
import { priorityStep } from '../../protocol/queue-key.ts'
import type {
  AdvanceOutcome,
  AgedBeatClock,
  BeatClock,
  BrokerTime,
  ChordParts,
  ChordPartWrite,
  ChordState,
  Cursor,
  CursorAdvance,
  DeadLetterSummary,
  Lease,
  LeaseFence,
  ListedDeadLetter,
  Presence,
  Store,
  StoredDeadLetter,
} from '../store.ts'
import type { BrokerSafety, UnackedState, WaitingMessages } from '../safety.ts'
import type { ChordCount, DeadLetter, Depth, Publication, Replies, ReplyQueue, ResultWrite } from '../transport.ts'
import { RedisConnection, type ConnectionTimeouts, type BrokerAddress } from './connection.ts'
import { readDepth } from './depth.ts'
import { redisKeys, type Keys } from './keys.ts'
import { measureTime } from './measure-time.ts'
import { isBeatClock, isPresence, parseObject } from './records.ts'
import { request } from './request.ts'
import { readSafety, readUnacked, waitingAmong } from './safety.ts'
import { runScript, type ScriptCall } from './scripts.ts'
import { RedisSubscriber } from './subscriber.ts'
import { effectivePrefix } from './connection-options.ts'
import { parseBrokerUrl } from './url.ts'

export interface RedisStoreOptions {
  readonly url: string
  readonly keyPrefix?: string
  readonly timeouts?: ConnectionTimeouts
}

const CONNECT_MS = 5000
/** A cursor's text, by the same pattern as in advance-cursor.lua. */
const CURSOR = /^(-?\d+\.?\d*) (\d+) (\d+) (\d+) (.*)$/s
/** What beat's companion says of its clock is gone after this. */
const BEAT_CLOCK_TTL_MS = 60_000
const beatClockKey = (presence: string): string => `${presence}:beat-clock`
/** Dead letters read or dropped in one call. */
const PAGE = 1000

export class RedisStore implements Store {
  readonly #keys: Keys
  readonly #countsListeners: boolean
  readonly #connection: RedisConnection
  readonly #broker: BrokerAddress
  #subscriber: RedisSubscriber | undefined

  /** @throws BrokerError `BrokerUrlInvalid` */
  constructor(options: RedisStoreOptions) {
    const target = parseBrokerUrl(options.url)
    const keyPrefix = effectivePrefix(target, options.keyPrefix ?? '')
    this.#keys = redisKeys(keyPrefix, target.db)
    this.#countsListeners = target.kind !== 'cluster'
    this.#broker = { url: options.url, keyPrefix, ...(options.timeouts ? { timeouts: options.timeouts } : {}) }
    this.#connection = new RedisConnection({ ...this.#broker, name: 'taskqueue:store' })
  }

  async connect(): Promise<void> {
    await this.#connection.whenReady(this.#broker.timeouts?.connectMs ?? CONNECT_MS)
  }

  async ping(): Promise<void> {
    await this.#run((redis) => redis.ping())
  }

  async time(): Promise<BrokerTime> {
    return this.#run(measureTime)
  }

  /** See Transport.depth; here so that a reader needs one connection only. */
  async depth(queues: readonly string[]): Promise<Depth> {
    return this.#run((redis) => readDepth(redis, this.#keys, queues))
  }

  /** Whether the broker keeps what it is given, as far as it may be asked. */
  async readSafety(): Promise<BrokerSafety> {
    return this.#run(readSafety)
  }

  async readUnacked(): Promise<UnackedState> {
    return this.#run((redis) => readUnacked(redis, this.#keys))
  }

  /** Queues that workers of this runtime have used. */
  async readQueues(): Promise<string[]> {
    return this.#run((redis) => redis.smembers(this.#keys.queues))
  }

  /** Which of these messages lie among the `most` oldest ones of each priority. */
  async waitingAmong(queue: string, ids: readonly string[], most: number): Promise<WaitingMessages> {
    return this.#run((redis) => waitingAmong(redis, this.#keys, queue, ids, most))
  }

  /** See Transport.request; here so that a reader needs one connection only. */
  async request(exchange: string, questions: readonly string[], replies: ReplyQueue): Promise<Replies> {
    const asked = { exchange, questions, replies, countsListeners: this.#countsListeners }
    return this.#run((redis) => request(redis, this.#keys, asked, systemClock))
  }

  async writePresence(key: string, presence: Presence, ttlSeconds: number): Promise<void> {
    const args = [presence.id, JSON.stringify(presence), ttlSeconds]
    await this.#script({ name: 'write-presence', keys: [this.#keys.named(key)], args })
  }

  async removePresence(key: string, id: string): Promise<void> {
    await this.#run((redis) => redis.hdel(this.#keys.named(key), id))
  }

  async readPresence(key: string): Promise<Presence[]> {
    const fields = await this.#run((redis) => redis.hvals(this.#keys.named(key)))
    return fields.map(parseObject).filter(isPresence)
  }

  async writeDraining(presenceKey: string, ids: readonly string[], ttlSeconds: number): Promise<void> {
    const key = `${this.#keys.named(presenceKey)}:draining`
    await this.#run(async (redis) => {
      const steps = redis.multi().del(key)
      if (ids.length > 0) steps.sadd(key, ...ids).expire(key, ttlSeconds)
      for (const [error] of (await steps.exec()) ?? []) if (error) throw error
    })
  }

  async readDraining(presenceKey: string, id: string): Promise<boolean> {
    const key = `${this.#keys.named(presenceKey)}:draining`
    return (await this.#run((redis) => redis.sismember(key, id))) === 1
  }

  async writeBeatClock(presenceKey: string, clock: BeatClock): Promise<void> {
    const key = beatClockKey(this.#keys.named(presenceKey))
    await this.#run((redis) => redis.set(key, JSON.stringify(clock), 'PX', BEAT_CLOCK_TTL_MS))
  }

  async readBeatClock(presenceKey: string): Promise<AgedBeatClock | undefined> {
    const key = beatClockKey(this.#keys.named(presenceKey))
    const replies = await this.#run((redis) => redis.multi().get(key).pttl(key).exec())
    const [json, left] = (replies ?? []).map(([error, reply]) => {
      if (error) throw error
      return reply
    })
    const clock = typeof json === 'string' ? parseObject(json) : undefined
    if (!isBeatClock(clock) || typeof left !== 'number') return undefined
    const { offsetSeconds, errorSeconds } = clock
    return { offsetSeconds, errorSeconds, ageSeconds: Math.max(0, BEAT_CLOCK_TTL_MS - Math.max(0, left)) / 1000 }
  }

  async acquireLease(name: string, holder: string, ttlMs: number): Promise<Lease> {
    const lease = this.#keys.lease(name)
    const reply = await this.#script({
      name: 'acquire-lease',
      keys: [lease, `${lease}:token`],
      args: [holder, Math.ceil(ttlMs)],
    })
    const [held, token, current] = Array.isArray(reply) ? (reply as unknown[]) : []
    return { held: held === 1, token: Number(token), holder: String(current) }
  }

  async releaseLease(name: string, holder: string): Promise<void> {
    await this.#script({ name: 'release-lease', keys: [this.#keys.lease(name)], args: [holder] })
  }

  async readCursors(beat: string): Promise<Map<string, Cursor>> {
    const fields = await this.#run((redis) => redis.hgetall(this.#keys.cursors(beat)))
    const cursors = new Map<string, Cursor>()
    for (const [schedule, text] of Object.entries(fields)) {
      // What the script doesn't take for a cursor is none here either.
      const [, slot, firedAt, runs, missed, fingerprint = ''] = CURSOR.exec(text) ?? []
      if (slot === undefined) continue
      const cursor = { slot: Number(slot), runs: Number(runs), missed: Number(missed), fingerprint }
      cursors.set(schedule, { ...cursor, firedAt: Number(firedAt) || null })
    }
    return cursors
  }

  async advanceCursor(beat: string, lease: LeaseFence, advance: CursorAdvance): Promise<AdvanceOutcome> {
    const keys = [this.#keys.lease(lease.name), this.#keys.cursors(beat), this.#keys.missedSlots(beat)]
    const messages = advance.publications.flatMap(({ queue, priority, raw }) => {
      const number = keys.push(this.#keys.list(queue, priorityStep(priority)))
      return [number, raw, this.#keys.wake(queue)]
    })
    const fence = `${lease.token}:${lease.holder}`
    const args = [
      fence,
      advance.schedule,
      advance.from ?? '',
      advance.to,
      advance.missed,
      advance.missedSlots.join(','),
      advance.fingerprint,
      ...messages,
    ]
    const reply = await this.#script({ name: 'advance-cursor', keys, args })
    if (reply === 1) return 'advanced'
    if (reply === 0) return 'stale'
    return reply === -2 ? 'early' : 'fenced'
  }

  async removeCursors(beat: string, lease: LeaseFence, schedules: readonly string[]): Promise<boolean> {
    const keys = [this.#keys.lease(lease.name), this.#keys.cursors(beat), this.#keys.missedSlots(beat)]
    const args = [`${lease.token}:${lease.holder}`, ...schedules]
    return (await this.#script({ name: 'remove-cursors', keys, args })) === 1
  }

  async readMissedSlots(beat: string): Promise<ReadonlyMap<string, readonly number[]>> {
    const fields = await this.#run((redis) => redis.hgetall(this.#keys.missedSlots(beat)))
    return new Map(Object.entries(fields).map(([schedule, text]) => [schedule, text.split(',').map(Number)]))
  }

  async readPausedSchedules(beat: string): Promise<ReadonlySet<string>> {
    return new Set(await this.#run((redis) => redis.smembers(this.#keys.pausedSchedules(beat))))
  }

  async pauseSchedule(beat: string, schedule: string, paused: boolean): Promise<boolean> {
    const key = this.#keys.pausedSchedules(beat)
    return this.#run(async (redis) => (await (paused ? redis.sadd(key, schedule) : redis.srem(key, schedule))) === 1)
  }

  async readResult(taskId: string): Promise<string | undefined> {
    return (await this.#run((redis) => redis.get(this.#keys.result(taskId)))) ?? undefined
  }

  async writeResult({ taskId, json, ttlSeconds }: ResultWrite): Promise<void> {
    await this.#script({ name: 'store-result', keys: [this.#keys.result(taskId)], args: [ttlSeconds, json] })
  }

  async watchResult(taskId: string, onResult: (json: string) => void): Promise<() => Promise<void>> {
    this.#subscriber ??= new RedisSubscriber(this.#broker)
    return this.#subscriber.subscribe(this.#keys.result(taskId), (_channel, json) => onResult(json))
  }

  async chordPart(part: ChordPartWrite): Promise<ChordState> {
    const { parts, extra, size, counted, claim } = this.#keys.chord(part.groupId)
    const score = part.index === undefined ? '+inf' : String(part.index)
    const reply = await this.#script({
      name: 'chord-part',
      keys: [parts, extra, size, counted, claim],
      args: [part.json, score, `${part.taskId}:${score}`, part.ttlSeconds, part.claimSeconds, part.claim],
    })
    const [have, want, ours] = Array.isArray(reply) ? (reply as number[]) : []
    if (have === -1) return 'done'
    if (have !== want) return 'waiting'
    return ours === 1 ? 'claimed' : 'elsewhere'
  }

  async readChordParts(groupId: string): Promise<ChordParts> {
    const keys = this.#keys.chord(groupId)
    return this.#run(async (redis) => {
      const [parts, shape] = await Promise.all([redis.zrange(keys.parts, '0', '-1'), redis.get(keys.shape)])
      return { parts, shape: shape ?? undefined }
    })
  }

  async countChord({ groupId, size, ttlSeconds, shape }: ChordCount): Promise<void> {
    const keys = this.#keys.chord(groupId)
    await this.#run((redis) => {
      const steps = redis.multi().del(keys.claim).setex(keys.size, ttlSeconds, String(size))
      if (shape !== undefined) steps.setex(keys.shape, ttlSeconds, shape)
      return steps.exec()
    })
  }

  async endChord(groupId: string, claim: string): Promise<boolean> {
    const keys = this.#keys.chord(groupId)
    return this.#run(async (redis) => {
      if ((await redis.get(keys.claim)) !== claim) return false
      await redis.multi().del(keys.parts, keys.extra, keys.size, keys.counted).setex(keys.claim, 300, 'done').exec()
      return true
    })
  }

  async saveRevoked(ids: readonly string[], ttlMs: number, most: number): Promise<void> {
    if (ids.length === 0) return
    const { revoked } = this.#keys
    await this.#run(async (redis) => {
      const now = Number((await redis.time())[0])
      const until = now + Math.ceil(ttlMs / 1000)
      const replies = await redis
        .multi()
        .zadd(revoked, ...ids.slice(-most).flatMap((id) => [until, id]))
        .zremrangebyscore(revoked, '-inf', now)
        .zremrangebyrank(revoked, 0, -(most + 1))
        .expire(revoked, Math.ceil(ttlMs / 1000))
        .exec()
      for (const [error] of replies ?? []) if (error) throw error
    })
  }

  async readRevoked(): Promise<string[]> {
    return this.#run(async (redis) => {
      const now = Number((await redis.time())[0])
      return redis.zrangebyscore(this.#keys.revoked, now, '+inf')
    })
  }

  async countDeadLetters(): Promise<number> {
    return this.#run((redis) => redis.zcard(this.#keys.deadIndex))
  }

  async deadLetters(): Promise<DeadLetterSummary> {
    const { deadIndex } = this.#keys
    const replies = await this.#run((redis) =>
      redis.multi().zcard(deadIndex).zrevrange(deadIndex, 0, 0, 'WITHSCORES').exec(),
    )
    const [count, newest] = (replies ?? []).map(([error, reply]) => {
      if (error) throw error
      return reply
    })
    const second: unknown = Array.isArray(newest) ? newest[1] : undefined
    return { count: Number(count), newestAt: second === undefined ? null : Number(second) * 1000 }
  }

  async listDeadLetters(limit: number): Promise<ListedDeadLetter[]> {
    return this.#run(async (redis) => {
      const letters: ListedDeadLetter[] = []
      // By pages: hundreds of thousands in one call are more arguments than a call can have, and hold the server up.
      for (let at = 0; at < limit; at += PAGE) {
        const keys = await redis.zrevrange(this.#keys.deadIndex, at, Math.min(at + PAGE, limit) - 1)
        if (keys.length === 0) break
        const texts = await redis.hmget(this.#keys.deadLetters, ...keys)
        keys.forEach((key, i) => {
          const letter = parseObject(texts[i] ?? '')
          if (letter) letters.push({ ...(letter as unknown as DeadLetter), key })
        })
      }
      return letters
    })
  }

  async readDeadLetter(key: string): Promise<StoredDeadLetter | undefined> {
    return this.#run(async (redis) => {
      const [letter, message] = await Promise.all([
        redis.hget(this.#keys.deadLetters, key),
        redis.hget(this.#keys.deadMessages, key),
      ])
      const parsed = parseObject(letter ?? '') as DeadLetter | undefined
      return parsed ? { ...parsed, key, message: message ?? '' } : undefined
    })
  }

  async reviveDeadLetter(key: string, { queue, priority, raw }: Publication): Promise<boolean> {
    const keys = this.#keys
    const reply = await this.#script({
      name: 'revive-dead-letter',
      keys: [keys.deadLetters, keys.deadMessages, keys.deadIndex, keys.list(queue, priorityStep(priority))],
      args: [key, raw, keys.wake(queue)],
    })
    return reply === 1
  }

  async dropDeadLetters(wanted: readonly string[]): Promise<number> {
    const keys = this.#keys
    return this.#run(async (redis) => {
      let dropped = 0
      for (let at = 0; at < wanted.length; at += PAGE) {
        const page = wanted.slice(at, at + PAGE)
        const replies = await redis
          .multi()
          .hdel(keys.deadLetters, ...page)
          .hdel(keys.deadMessages, ...page)
          .zrem(keys.deadIndex, ...page)
          .exec()
        dropped += Number(replies?.[0]?.[1] ?? 0)
      }
      return dropped
    })
  }

  close(): Promise<void> {
    this.#subscriber?.close()
    this.#connection.close()
    return Promise.resolve()
  }

  #script(call: ScriptCall): Promise<unknown> {
    return this.#run((redis) => runScript(redis, call))
  }

  async #run<T>(run: (redis: RedisConnection['redis']) => Promise<T>): Promise<T> {
    await this.connect()
    try {
      return await run(this.#connection.redis)
    } catch (error) {
      throw this.#connection.coded(error)
    }
  }
}
