// One campaign: jobs are sent while faults come, all is healed, what is left is worked off, and the history is judged.

import { setTimeout as delay } from 'node:timers/promises'
import { check, type Verdict } from './checker.ts'
import { Draw } from './draw.ts'
import { Ground } from './ground.ts'
import { append, FAULT_KINDS, now, PROMOTION, read, type FaultKind, type History, type JobKind } from './history.ts'
import { drawn, strike } from './nemesis.ts'
import type { Job, Producer, Subject } from './subject.ts'
import { WallClock } from './wall-clock.ts'

export interface CampaignOptions {
  readonly seed: number
  readonly jobs: number
  readonly faults: number
  readonly workers?: number
  readonly kinds?: readonly FaultKind[]
  /** How long nothing that is left may be done once all is healed. */
  readonly drainSeconds?: number
  readonly say?: (line: string) => void
}

export interface Campaign {
  readonly seed: number
  readonly seconds: number
  readonly verdict: Verdict
  readonly history: History
  /** What its processes said last. */
  readonly said: readonly string[]
}

const PARTS = 4
const GIVE_UP_SECONDS = 60
/** About how long a fault takes, with the pause before it. */
const FAULT_SECONDS = 4.5
/** Between two faults, beside their own length. */
const PAUSE_MS = [500, 2500] as const

export async function runCampaign(subject: Subject, options: CampaignOptions): Promise<Campaign> {
  const { seed, workers = 4, say = () => undefined } = options
  const began = performance.now()
  const replicated = options.kinds?.includes(PROMOTION) ?? false
  const ground = await Ground.open(subject, { replicated })
  const wall = new WallClock()
  try {
    const epoch = Math.floor(Date.now() / 2000) * 2000
    await subject.prepare?.(ground.redis.client, ground.folder, epoch)
    for (let i = 0; i < workers; i++) await ground.addWorker()
    await ground.addBeat()
    const progress = new Progress(options, say)
    // Jobs and faults draw from seeds of their own: how quick the one is must not change the other.
    const sending = sendAll(ground, new Draw(seed), options, progress)
    const striking = strikeAll(ground, new Draw(seed + 1), options, progress)
    await Promise.all([sending, striking.then(() => progress.faultsEnded())])
    say(`    seed ${seed}: all is healed after ${progress.seconds()} s; what is left is worked off`)
    const left = await drained(ground, options.drainSeconds ?? 120)
    if (ground.beat) {
      ground.beat.child.kill('SIGKILL')
      await ground.gone(ground.beat)
      await drained(ground, 30)
    }
    const end = await subject.end(ground.redis.client, ground.redis.port, ground.folder, epoch)
    const history: History = {
      events: read(ground.ledger),
      end: { left, ...end },
      promises: subject.promises,
      wall: wall.look(),
      failures: 2,
      maxAttempts: 2,
    }
    const seconds = (performance.now() - began) / 1000
    return { seed, seconds, verdict: check(history), history, said: [...ground.said] }
  } finally {
    wall.stop()
    await ground.close()
  }
}

class Progress {
  readonly #options: CampaignOptions
  readonly #say: (line: string) => void
  readonly #began = performance.now()
  sent = 0
  faults = 0
  /** Set by the last fault: jobs need not wait for more of them. */
  over = false
  #overAt: number | undefined
  #told = 0

  constructor(options: CampaignOptions, say: (line: string) => void) {
    this.#options = options
    this.#say = say
  }

  seconds(): number {
    return Math.round((performance.now() - this.#began) / 1000)
  }

  faultsEnded(): void {
    this.over = true
    this.#overAt = performance.now()
  }

  /** 0 while faults go on. */
  secondsSinceOver(): number {
    return this.#overAt === undefined ? 0 : (performance.now() - this.#overAt) / 1000
  }

  /** Whether more of the jobs are sent than there have been faults. */
  ahead(): boolean {
    const { jobs, faults } = this.#options
    return !this.over && this.sent / jobs > (this.faults + 1) / (faults + 1)
  }

  tell(): void {
    if (this.seconds() - this.#told < 10) return
    this.#told = this.seconds()
    const { jobs, faults, seed } = this.#options
    this.#say(`    seed ${seed}: ${this.sent} of ${jobs} jobs, ${this.faults} of ${faults} faults, ${this.seconds()} s`)
  }
}

async function strikeAll(ground: Ground, draw: Draw, options: CampaignOptions, progress: Progress): Promise<void> {
  const kinds = (options.kinds ?? FAULT_KINDS).filter(
    (kind) => ground.subject.beat !== undefined || !kind.includes('beat'),
  )
  for (const kind of drawn(draw, options.faults, kinds)) {
    await delay(draw.between(...PAUSE_MS))
    await strike(ground, draw, kind)
    progress.faults++
    progress.tell()
  }
}

/** Evenly over the faults: the next batch is sent once as large a part of the faults is over, or none is left. */
async function sendAll(
  ground: Ground,
  draw: Draw,
  { jobs: count, faults }: CampaignOptions,
  progress: Progress,
): Promise<void> {
  const producer = await ground.subject.producer(ground.redis.port, ground.ledger)
  const jobs = jobsOf(ground.subject, draw, count, mostMillis(count, faults, ground.subject.busySlots))
  const under = new Set<Promise<void>>()
  const BATCH = 25
  // Sent all the time, not between the faults: what is answered while one lasts is what it may lose.
  const pauseMs = Math.max(20, (0.8 * BATCH * faults * FAULT_SECONDS * 1000) / count)
  try {
    for (let i = 0; i < jobs.length; i += BATCH) {
      for (const job of jobs.slice(i, i + BATCH)) {
        const one: Promise<void> = publish(ground, producer, job, progress).finally(() => under.delete(one))
        under.add(one)
      }
      progress.sent = Math.min(jobs.length, i + BATCH)
      progress.tell()
      await delay(pauseMs)
      while (under.size > 500) await Promise.race(under)
      // As many jobs as faults: each fault is to meet some.
      while (progress.ahead()) await delay(50)
    }
    await Promise.all(under)
  } finally {
    // One that has lost its broker may wait for it for ever.
    await Promise.race([producer.close().catch(() => undefined), delay(10_000)])
  }
}

/** How long a job takes at most, so that as many slots are busy. */
function mostMillis(jobs: number, faults: number, busySlots: number): number {
  return Math.round((2 * busySlots * 1000 * faults * FAULT_SECONDS) / jobs)
}

function jobsOf(subject: Subject, draw: Draw, count: number, most: number): Job[] {
  const kinds = Object.entries(subject.mix) as [Job['kind'], number][]
  return Array.from({ length: count }, (_, i): Job => {
    let chance = draw.next() * 100
    const kind = kinds.find(([, share]) => (chance -= share) < 0)?.[0] ?? 'plain'
    const id = `${kind}-${i}`
    const millis = Math.floor(draw.between(0, most))
    if (kind === 'later') return { id, kind, millis, countdown: Math.round(draw.between(1, 20)) }
    if (kind === 'chord')
      return { id, kind, millis, parts: Array.from({ length: PARTS }, (__, part) => `${id}-part-${part}`) }
    return { id, kind, millis }
  })
}

/**
 * Sends until the broker has acknowledged it: who must not lose a job does that. Each doubtful answer is written down. A producer that has
 * not come back a minute after all was healed never will: what it could not send is of unknown fate.
 */
async function publish(ground: Ground, producer: Producer, job: Job, progress: Progress): Promise<void> {
  while (progress.secondsSinceOver() < GIVE_UP_SECONDS) {
    const from = now()
    try {
      await producer.send(job)
      const answeredAt = now()
      for (const event of told(job, from)) append(ground.ledger, { ...event, fate: 'acknowledged', answeredAt })
      return
    } catch {
      for (const event of told(job, from)) append(ground.ledger, { ...event, fate: 'unknown' })
      await delay(300)
    }
  }
}

function told(
  { id, kind, countdown, parts }: Job,
  from: number,
): { what: 'published'; id: string; kind: JobKind; at: number; due?: number; chord?: string }[] {
  if (kind === 'chord')
    return [
      ...(parts ?? []).map((part) => ({
        what: 'published' as const,
        id: part,
        kind: 'part' as const,
        at: from,
        chord: id,
      })),
      { what: 'published', id, kind: 'body', at: from, chord: id },
    ]
  // No earlier than when its countdown began: when it was called.
  return [
    { what: 'published', id, kind, at: from, ...(countdown === undefined ? {} : { due: from + countdown * 1000 }) },
  ]
}

/** @returns how many jobs are left when none of them has been done for so long */
async function drained(ground: Ground, seconds: number): Promise<number> {
  let [least, deadline] = [Infinity, 0]
  for (let empty = 0; ;) {
    const left = await ground.subject.left(ground.redis.client)
    empty = left <= slotsUnderWay(ground) ? empty + 1 : 0
    // More than once: a follow-up may be on its way.
    if (empty >= 3) return 0
    if (left < least) [least, deadline] = [left, performance.now() + seconds * 1000]
    if (performance.now() > deadline) return left
    await delay(200)
  }
}

/** Beat goes on sending until it is ended. */
function slotsUnderWay(ground: Ground): number {
  return ground.beat && ground.beat.child.exitCode === null && ground.beat.child.signalCode === null ? 5 : 0
}
