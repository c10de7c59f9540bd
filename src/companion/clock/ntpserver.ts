// Asks one NTP server, and keeps what it said last and what is wrong with it. Whether it is believed is ntpselection.ts's to say, and when
// it is asked again ntpclock.ts's.

import { randomBytes } from 'node:crypto'
import { DatagramSocket, resolveEndpoint, type Arrival, type Endpoint } from './datagram.ts'
import { WALL_ERROR_SECONDS, hostClock, type HostClock } from './hostclock.ts'
import {
  decodePacket,
  encodeQuestion,
  refusal,
  rootDistance,
  sampleOf,
  type NtpPacket,
  type Refusal,
} from './ntppacket.ts'
import type { Pause } from './pause.ts'
import type { ServerAddress } from './serverlist.ts'

/** What a server said, as far as it is usable. */
export interface Reading {
  /** This machine's clock minus the server's, in seconds. */
  readonly offsetSeconds: number
  readonly delaySeconds: number
  /** Root distance when it was taken, in seconds. */
  readonly distanceSeconds: number
  readonly stratum: number
  /** On the monotonic clock, in milliseconds. */
  readonly at: number
}

export interface AskOptions {
  readonly clock: HostClock
  /** Samples of one look; the one with the least delay counts. */
  readonly samples: number
  /** Between two samples. Servers with ntpd's usual limit send a kiss-o'-death for less than 2 s. */
  readonly spacingMs: number
  readonly timeoutMs: number
  readonly intervalMs: number
  /** 64 random bits. */
  readonly cookie: () => bigint
}

export const askDefaults: AskOptions = {
  clock: hostClock,
  samples: 4,
  spacingMs: 2_100,
  timeoutMs: 2_000,
  intervalMs: 64_000,
  cookie: () => randomBytes(8).readBigUInt64BE(),
}

/** RATE doubles the interval up to about 17 minutes, the longest that NTP's own daemons use by default. */
const MOST_DOUBLINGS = 4
const BACKOFF_MS = 2_000
/** In intervals: what is older says nothing about now. */
const STALE_AFTER = 3.5
/** How fast an unwatched clock may run away: RFC 5905's PHI. */
const DRIFT = 15e-6

export class NtpServer {
  readonly address: ServerAddress
  readonly #options: AskOptions
  #reading: Reading | undefined
  #trouble: string | undefined
  #failures = 0
  #doublings = 0
  #banned = false
  #settled = false
  /** Grows when the clock was set: what was measured before means nothing then. */
  #epoch = 0

  constructor(address: ServerAddress, options: Partial<AskOptions> = {}) {
    this.address = address
    this.#options = { ...askDefaults, ...options }
  }

  /** The last answer, unless it is too old; its distance grows with its age. */
  get reading(): Reading | undefined {
    if (!this.#reading) return undefined
    const ageMs = this.#options.clock.monotonic() - this.#reading.at
    if (ageMs > this.intervalMs * STALE_AFTER) return undefined
    return { ...this.#reading, distanceSeconds: this.#reading.distanceSeconds + (ageMs / 1000) * DRIFT }
  }

  /** What is wrong, after "<name>: "; undefined while it answers. */
  get trouble(): string | undefined {
    return this.#trouble
  }

  /** True once it has answered or failed since the start, or since the clock was set. */
  get settled(): boolean {
    return this.#settled
  }

  /** It said that it does not want us: it is not asked again. */
  get banned(): boolean {
    return this.#banned
  }

  /** Between two looks while it answers. */
  get intervalMs(): number {
    return this.#options.intervalMs * 2 ** this.#doublings
  }

  /** Until the next look, without jitter. */
  get pauseMs(): number {
    if (this.#failures === 0 || this.#doublings > 0) return this.intervalMs
    return Math.min(this.intervalMs, BACKOFF_MS * 2 ** Math.min(this.#failures - 1, 10))
  }

  /**
   * Forgets what was measured: the clock was set.
   * @returns whether it may be asked at once; a server that found us too eager may not
   */
  forget(): boolean {
    this.#epoch++
    this.#reading = undefined
    const unwanted = this.#banned || this.#doublings > 0
    // Nor is it waited for when it did not answer before either.
    this.#settled = unwanted || this.#failures > 0
    return !unwanted
  }

  /**
   * One look: several samples, the first of which counts at once. Never rejects; `trouble` says what went wrong. It leaves `settled`
   * false when the clock was set meanwhile.
   * @param pause waits between the samples; cut short, the look ends
   */
  async look(pause: Pause, signal: AbortSignal, onSample: () => void): Promise<void> {
    if (this.#banned) return
    const epoch = this.#epoch
    let socket: DatagramSocket | undefined
    try {
      const { host, port } = this.address
      const endpoint = await resolveEndpoint(host, port, this.#options.timeoutMs)
      socket = new DatagramSocket(endpoint)
      let best: Reading | undefined
      for (let i = 0; i < this.#options.samples && !signal.aborted; i++) {
        if (i > 0) await pause.wait(this.#options.spacingMs, signal)
        if (this.#epoch !== epoch) return
        const reading = await this.#sample(socket, endpoint)
        if (this.#epoch !== epoch) return
        if (!best || reading.delaySeconds <= best.delaySeconds) best = reading
        this.#reading = best
        this.#succeed()
        onSample()
      }
    } catch (error) {
      if (this.#epoch === epoch) this.#fail(error)
    } finally {
      socket?.close()
    }
  }

  #succeed(): void {
    this.#failures = 0
    this.#settled = true
    this.#trouble = undefined
  }

  #fail(error: unknown): void {
    this.#failures++
    this.#settled = true
    this.#trouble = error instanceof Error ? error.message : String(error)
    if (!(error instanceof Refused)) return
    // It said itself that its time is of no use; silence alone says nothing about what it told before.
    this.#reading = undefined
    if (error.code === 'DENY' || error.code === 'RSTR') {
      this.#banned = true
      this.#trouble += ': it is not asked again until this pod starts anew'
    } else if (error.code === 'RATE') {
      this.#doublings = Math.min(MOST_DOUBLINGS, this.#doublings + 1)
      this.#trouble += `: it is asked every ${this.intervalMs / 1000} s only`
    }
  }

  /** @throws Refused for an answer that says that it is of no use, Error for everything else */
  async #sample(socket: DatagramSocket, endpoint: Endpoint): Promise<Reading> {
    const { clock, timeoutMs, cookie: draw } = this.#options
    const cookie = draw()
    let sentMs = 0
    let sentAt = 0
    let stray: string | undefined
    const take = (arrival: Arrival): Reading | Error | undefined => {
      const at = clock.monotonic()
      if ('error' in arrival) return new Error(arrival.error)
      const wrong = this.#wrong(socket, arrival, cookie)
      if (wrong?.stray) {
        stray = wrong.message
        return undefined
      }
      if (wrong) return new Refused(wrong)
      const packet = decodePacket(arrival.data) as NtpPacket
      return readingOf(packet, sentMs, at - sentAt, at) ?? new Error('its answer claims times that can not be')
    }
    const sent = (): void => {
      sentMs = clock.wall()
      sentAt = clock.monotonic()
    }
    const heard = await socket.exchange(encodeQuestion(cookie), timeoutMs, sent, take)
    if (heard instanceof Error) throw heard
    if (heard) return heard
    const other = stray === undefined ? '' : `; what came was refused: ${stray}`
    throw new Error(`no answer from ${endpoint.address} port ${endpoint.port} within ${timeoutMs / 1000} s${other}`)
  }

  #wrong(socket: DatagramSocket, arrival: Extract<Arrival, { data: Buffer }>, cookie: bigint): Refusal | undefined {
    if (socket.isFrom(arrival.from)) return refusal(arrival.data, cookie)
    return { kind: 'refused', stray: true, message: 'an answer came from another address than was asked' }
  }
}

class Refused extends Error {
  readonly code: string | undefined

  constructor(refused: Refusal) {
    super(refused.message)
    this.code = refused.code
  }
}

function readingOf(packet: NtpPacket, sentMs: number, tookMs: number, at: number): Reading | undefined {
  const sample = sampleOf(packet, sentMs, tookMs / 1000)
  if (!sample) return undefined
  const distanceSeconds = rootDistance(packet, sample.delaySeconds) + WALL_ERROR_SECONDS
  return { ...sample, distanceSeconds, stratum: packet.stratum, at }
}
