// Takes messages and settles deliveries, one round trip a tick.
//
// A tick is one round trip of scripts: [promote] [recover] settle N, take M. M never exceeds the slots that are free: granted
// credit less what ticks on their way have asked for already. Two ticks may be on their way, of half the slots each, so that
// the server works while handlers do. When a take brings less than it asked for the consumer is idle: it settles what ends,
// and takes again when woken (wake-ups.ts) or at the next poll.
//
// What may be repeated: a settle, because its tag fences it. What may not: a take. When the reply to a take is lost, its
// messages are given back after the reconnect (join.lua), or by anyone once their lease ends (recover.lua).
import { sharedNow, type Clock, type Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { readEnvelope } from '../../protocol/envelope.ts'
import { priorityStep } from '../../protocol/queue-key.ts'
import { backoffMs } from '../backoff.ts'
import type { ConsumeOptions, Delivery, DeliveryToken, Outcome } from '../transport.ts'
import type { RedisConnection } from './connection.ts'
import { HeldDeliveries } from './held-deliveries.ts'
import type { Keys } from './keys.ts'
import type { LeaseSlots } from './lease-slots.ts'
import type { QueueSet } from './queue-set.ts'
import { joinCall, takeCall, type ServedQueues } from './queue-calls.ts'
import { roundTrip } from './round-trip.ts'
import { isNoScript, loadScripts, runLoaded, runScript, TICK_SCRIPTS, type ScriptCall } from './scripts.ts'
import {
  answerOrder,
  complaintAbout,
  settleBatch,
  settleCall,
  type PendingOutcome,
  type SettleBatch,
} from './settle-call.ts'
import { POLL_MS, Sweeps, type DeadLetterKeeping } from './sweeps.ts'
import { ServingOrder } from './serving-order.ts'
import { formatTag } from './tag.ts'
import { uuid4 } from '../../protocol/uuid.ts'
import type { Redis } from 'ioredis'

/** Seconds a lease lasts; renewed about three times as often. */
export const LEASE_SECONDS = 10
/** Traps that were tried: see take.lua. */
const MAX_BATCH = 500
/**
 * Slots that a tick fills while another is on its way. Half of them, so that both sides have work; but replies of hundreds of messages
 * fill the socket, and then each side waits for the other.
 */
const SHARE = 50
const TROUBLE = { baseMs: 100, capMs: 3000 } as const

/** What a consumer is built on. */
export interface ConsumerDeps {
  readonly connection: RedisConnection
  readonly keys: Keys
  /** What is taken from; it may change at any time. */
  readonly queues: QueueSet
  readonly process: string
  readonly slots: LeaseSlots
  readonly clock: Clock
  readonly random: () => number
  readonly dead: DeadLetterKeeping
  /** Called when the consumer goes idle with slots free: wake-ups are wanted. */
  readonly onIdle: () => void
  /** Whether leases are not renewed as they should be: nothing new is taken then. */
  readonly leasesOverdue: () => boolean
  /** Something that is no error of ours to handle, for the log. */
  readonly onTrouble: (message: string) => void
}

interface Tick {
  readonly outcomes: readonly PendingOutcome[]
  readonly want: number
  readonly firstNumber: number
  readonly calls: readonly ScriptCall[]
  /** What is taken from; undefined when nothing is. */
  readonly served: ServedQueues | undefined
}

export class RedisConsumer {
  readonly #deps: ConsumerDeps
  readonly #options: ConsumeOptions
  readonly #held: HeldDeliveries
  readonly #sweeps: Sweeps
  readonly #order: ServingOrder
  #pending: PendingOutcome[] = []
  #credit = 0
  #requested = 0
  #ticks = 0
  #unsettled = 0
  #number = 1
  #parkedNumber = 1
  #idle = false
  #taking = true
  #closed = false
  #scheduled = false
  #failures = 0
  #pausedUntil = 0
  #resume: Timer | undefined
  #trouble: string | undefined
  #unreadable = ''
  #emptyWakes = 0
  /** A wake-up came while a take was on its way. */
  #woken = false
  /** The take on its way goes back to a wake-up of an idle consumer. */
  #byWake = false
  #poll: Timer | undefined
  #lastRoundTrip: number | undefined
  #flushed: (() => void)[] = []

  constructor(deps: ConsumerDeps, options: ConsumeOptions) {
    this.#deps = deps
    this.#options = options
    this.#held = new HeldDeliveries(deps.process, deps.queues, deps.slots)
    this.#sweeps = new Sweeps(deps.clock, deps.random, deps.dead)
    this.#order = new ServingOrder(deps.keys, deps.queues)
    this.#deps.connection.onChange((ready) => {
      if (ready) this.#kick()
    })
  }

  get lastRoundTrip(): number | undefined {
    return this.#lastRoundTrip
  }

  /** Why nothing is taken although the broker is connected; undefined while all is well. */
  get trouble(): string | undefined {
    if (this.#deps.leasesOverdue()) return 'leases are not being renewed: nothing new is taken'
    return this.#trouble
  }

  /** Part of connecting: brings the scripts, names the queues, gives back what a lost reply left under our name. */
  async prepare(redis: Redis): Promise<void> {
    await loadScripts(redis, [...TICK_SCRIPTS, 'join'])
    await this.#join(redis)
    this.#sweeps.connected()
    this.#failures = 0
    this.#pausedUntil = 0
  }

  /** After a change of the queues: names the new one in the broker, and takes from it. */
  async queuesChanged(): Promise<void> {
    const { connection, keys, queues } = this.#deps
    // Never join.lua while ticks are on their way: what a take has brought and nobody has read yet would be given back, and run twice.
    if (connection.ready && queues.active.length > 0) await connection.redis.sadd(keys.queues, ...queues.active)
    this.#takeAgain()
  }

  async #join(redis: Redis): Promise<void> {
    const { keys, queues, process } = this.#deps
    if (queues.active.length > 0) await runScript(redis, joinCall(keys, queues.active, process, this.#held.tags()))
  }

  grant(credit: number): void {
    this.#credit += credit
    this.#kick()
  }

  limitLease(token: DeliveryToken, milliseconds: number): void {
    this.#held.limit(token, sharedNow() + milliseconds)
  }

  settle(outcome: Outcome, queue: string): void {
    // A tag fences its outcome; one without is given a name, by which a repetition is known.
    this.#pending.push(outcome.token === null ? { outcome, queue, once: uuid4() } : { outcome, queue })
    this.#kick()
  }

  /** Nothing is open. What a take on its way brings, once no more are taken, is an outcome to come: it has to be given back. */
  get #flushable(): boolean {
    return this.#pending.length + this.#unsettled + (this.#taking ? 0 : this.#requested) === 0
  }

  flush(timeoutMs: number): Promise<void> {
    if (this.#flushable) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const timer = this.#deps.clock.after(timeoutMs, () => {
        const left = this.#pending.length + this.#unsettled
        const what = left > 0 ? `${left} outcomes were not confirmed` : 'a take was not answered'
        const text = `${what} within ${timeoutMs} ms; leases end by themselves`
        reject(new BrokerError('BrokerTimeout', text))
      })
      this.#flushed.push(() => {
        timer.cancel()
        resolve()
      })
      this.#kick()
    })
  }

  stopTaking(): void {
    this.#taking = false
    this.#poll?.cancel()
  }

  resumeTaking(): void {
    this.#taking = !this.#closed
    this.#takeAgain()
  }

  /** Someone says that there may be something to take. */
  wake(): void {
    if (this.#closed || !this.#taking) return
    // It may be about a message that a take on its way just missed: also one that an outcome took along while idle.
    if (!this.#idle || this.#requested > 0) {
      this.#woken = true
      return
    }
    // After wake-ups that brought nothing, others were quicker: spread out. One alone may be the echo of a message that a settle took along.
    const delay = this.#emptyWakes < 2 ? 0 : this.#deps.random() * Math.min(20, 2 ** (this.#emptyWakes - 1))
    if (delay < 1) {
      this.#takeAgain(true)
      return
    }
    this.#deps.clock.after(delay, () => this.#takeAgain(true))
  }

  close(): Promise<void> {
    this.#closed = true
    this.#taking = false
    this.#poll?.cancel()
    this.#resume?.cancel()
    return Promise.resolve()
  }

  #takeAgain(byWake = false): void {
    this.#idle = false
    this.#byWake = byWake
    this.#kick()
  }

  /** Coalesces what happens in one turn of the event loop into one tick. */
  #kick(): void {
    if (this.#scheduled || this.#closed) return
    this.#scheduled = true
    // Not a turn later: the reply to the other tick may lie in the socket, and the server would wait until all that is in it has run.
    process.nextTick(() => {
      this.#scheduled = false
      this.#pump()
    })
  }

  #pump(): void {
    if (this.#closed || !this.#deps.connection.ready) return
    const wait = this.#pausedUntil - this.#deps.clock.monotonic()
    if (wait > 0) {
      this.#resumeAfter(wait)
      return
    }
    const taking = this.#mayTake()
    const { concurrency } = this.#options
    const share = Math.ceil(Math.min(concurrency / 2, Math.max(SHARE, concurrency / 8)))
    while (this.#ticks < 2) {
      const free = taking ? this.#credit - this.#requested : 0
      const wants = this.#idle ? 0 : free
      if (wants <= 0 && this.#pending.length === 0) return
      if (this.#ticks > 0 && wants < share && this.#pending.length < share) return
      // A settle takes the next messages along, also when idle: it costs no round trip.
      const busy = this.#ticks > 0 || this.#held.size > 0
      const want = Math.min(free, busy ? share : free, MAX_BATCH)
      this.#send(Math.max(0, want))
    }
  }

  #mayTake(): boolean {
    if (!this.#taking || this.#deps.queues.active.length === 0) return false
    if (!this.#deps.leasesOverdue()) return true
    // Nobody tells when leases are renewed again: without another look, nothing would be taken any more.
    this.#resumeAfter(POLL_MS)
    return false
  }

  #send(want: number): void {
    const batch = settleBatch(this.#pending.slice(0, MAX_BATCH))
    const outcomes = answerOrder(batch)
    this.#pending = this.#pending.slice(MAX_BATCH)
    const firstNumber = this.#number
    this.#number += want
    const plan = { outcomes, want, firstNumber, served: want > 0 ? this.#order.next() : undefined }
    const tick: Tick = { ...plan, calls: this.#calls(plan, batch) }
    this.#requested += want
    this.#ticks += 1
    this.#unsettled += outcomes.length
    void this.#run(tick).then(({ replies, error }) => {
      this.#land(tick, replies, error)
      if (this.#flushable) for (const done of this.#flushed.splice(0)) done()
      this.#kick()
    })
  }

  #calls(tick: Omit<Tick, 'calls'>, batch: SettleBatch): ScriptCall[] {
    const { keys, process, queues } = this.#deps
    const { outcomes, want, firstNumber, served } = tick
    const calls = this.#sweeps.due(keys, queues.active)
    if (outcomes.length > 0) calls.push(settleCall(batch, keys, (priority) => this.#parkTag(priority), this.#deps.dead))
    if (served) calls.push(takeCall(served, { want, process, firstNumber, leaseSeconds: LEASE_SECONDS }))
    return calls
  }

  #parkTag(priority: number): string {
    return formatTag(`${this.#deps.process}-parked`, this.#parkedNumber++, priorityStep(priority))
  }

  /** Never rejects. Each reply counts by itself: a settle that is done stays done when the take after it failed. */
  async #run(tick: Tick): Promise<{ replies: Map<string, unknown>; error: unknown }> {
    const { redis } = this.#deps.connection
    const replies = new Map<string, unknown>()
    let error: unknown
    try {
      const sends = tick.calls.map((call) => () => runLoaded(redis, call))
      for (const [i, reply] of (await roundTrip(redis, sends)).entries()) {
        const call = tick.calls[i]
        if (reply.status === 'rejected') error ??= reply.reason
        else if (call) replies.set(call.name, reply.value)
      }
      if (isNoScript(error)) await loadScripts(redis, TICK_SCRIPTS)
    } catch (failed) {
      error = failed
    }
    return { replies, error }
  }

  #land(tick: Tick, replies: ReadonlyMap<string, unknown>, error: unknown): void {
    this.#ticks -= 1
    this.#requested -= tick.want
    this.#unsettled -= tick.outcomes.length
    this.#sweeps.landed(replies)
    const settled = replies.get('settle')
    if (typeof settled === 'string') this.#confirm(tick.outcomes, settled)
    // Their confirmation didn't come: they are sent again, and the tag makes that harmless.
    else if (tick.outcomes.length > 0) {
      this.#pending = [...tick.outcomes.map((open) => ({ ...open, repeated: true })), ...this.#pending]
    }
    const taken = replies.get('take')
    if (Array.isArray(taken)) this.#receive(tick, taken)
    if (replies.size > 0) this.#lastRoundTrip = this.#deps.clock.monotonic()
    if (error !== undefined) {
      this.#slowDown(error)
      return
    }
    this.#failures = 0
    this.#trouble = this.#unreadable === '' ? undefined : this.#unreadable
  }

  #confirm(outcomes: readonly PendingOutcome[], settled: string): void {
    outcomes.forEach((pending, i) => {
      const { outcome } = pending
      const complaint = complaintAbout(pending, settled[i])
      if (complaint !== undefined) this.#deps.onTrouble(complaint)
      if (outcome.token !== null) this.#held.remove(outcome.token)
    })
  }

  /** A broker that answers with errors, or not at all, must not be asked in a hot loop. */
  #slowDown(error: unknown): void {
    const { connection, clock, random } = this.#deps
    this.#failures += 1
    const pauseMs = isNoScript(error) && this.#failures < 3 ? 0 : backoffMs(this.#failures, TROUBLE, random())
    this.#pausedUntil = clock.monotonic() + pauseMs
    this.#resumeAfter(pauseMs)
    if (!connection.ready || isNoScript(error)) return
    this.#trouble = connection.coded(error).message
    this.#deps.onTrouble(this.#trouble)
  }

  /** A timer may fire a fraction early, and then #pump asks for another: without one a failed tick would be the last. */
  #resumeAfter(pauseMs: number): void {
    this.#resume?.cancel()
    this.#resume = this.#deps.clock.after(pauseMs, () => this.#kick(), { background: true })
  }

  #receive(tick: Tick, reply: readonly unknown[]): void {
    const [time, unreadable, ...handfuls] = reply as [number, string, ...unknown[]]
    const order = tick.served?.queues ?? []
    this.#noteUnreadable(unreadable, order)
    const deliveries: Delivery[] = []
    for (let i = 0; i + 2 < handfuls.length; i += 3) {
      const queue = order[Number(handfuls[i]) - 1] ?? ''
      const step = String(handfuls[i + 1])
      for (const raw of (handfuls[i + 2] as string[]).toReversed()) {
        const number = tick.firstNumber + deliveries.length
        const token = this.#held.add(queue, number, step)
        deliveries.push({ token, queue, takenAt: time, message: readEnvelope(raw) })
      }
    }
    this.#credit -= deliveries.length
    if (deliveries.length < tick.want) this.#goIdle(deliveries.length === 0)
    else this.#idle = false
    if (deliveries.length > 0) this.#emptyWakes = 0
    if (!this.#taking) {
      // It has not been used: should this worker take again, it is needed.
      this.#credit += deliveries.length
      // The last one first: each goes to the head of its list.
      for (const { token, queue } of deliveries.toReversed())
        this.settle({ token, kind: 'giveBack', begun: false }, queue)
    } else if (deliveries.length > 0) {
      this.#options.handlers.onDeliveries(deliveries)
    }
  }

  /** Queues whose key is no list: the others are served, and it is said once and in readiness. */
  #noteUnreadable(numbers: string, order: readonly string[]): void {
    const names = numbers === '' ? [] : numbers.split(',').map((number) => order[Number(number) - 1] ?? '?')
    const text =
      names.length === 0 ? '' : `the key of queue ${names.toSorted().join(', ')} is no list: rename or remove it`
    if (text !== '' && text !== this.#unreadable) this.#deps.onTrouble(text)
    this.#unreadable = text
  }

  #goIdle(empty: boolean): void {
    // One message may wake twice, as what is pushed and as what our producers say: that the second brings nothing tells of no others.
    if (empty && this.#byWake) this.#emptyWakes = Math.min(6, this.#emptyWakes + 1)
    this.#byWake = false
    if (this.#woken) {
      this.#woken = this.#idle = false
      return
    }
    this.#idle = true
    this.#poll?.cancel()
    if (!this.#taking || this.#closed) return
    this.#poll = this.#deps.clock.after(this.#sweeps.pause(), () => this.#takeAgain())
    if (this.#credit - this.#requested > 0) this.#deps.onIdle()
  }
}
