// Writes this process's field of the presence hash and measures the broker's clock on the way. Failures are no news here:
// a broker that is away is reported by the transport, and an unchanged field is what the reader goes by.
import { hostname } from 'node:os'
import type { BrokerClock } from '../broker/broker-clock.ts'
import { PRESENCE_EVERY_MS, PRESENCE_TTL_SECONDS, presenceKey } from '../broker/presence.ts'
import type { Presence, Store } from '../broker/store.ts'
import type { Clock, Timer } from '../clock.ts'
import type { Settings } from '../settings.ts'
import { VERSION } from '../version.ts'

/** What changes from one write to the next. */
export type PresenceFacts = Pick<Presence, 'busySlots' | 'slots' | 'queues' | 'processed' | 'lastProgressAt' | 'detail'>

export interface PresenceWriterOptions {
  readonly store: Store
  readonly brokerClock: BrokerClock
  readonly clock: Clock
  readonly kind: Presence['kind']
  readonly settings: Pick<Settings, 'namespace' | 'name' | 'podUid'>
  readonly appName: string
  readonly facts: () => PresenceFacts
  /** The operator wants this pod to take nothing any more, since it is to go, or to take again. */
  readonly onDrain?: (draining: boolean) => void
}

export class PresenceWriter {
  readonly #options: PresenceWriterOptions
  readonly #key: string
  readonly #id: string
  #counter = 0
  #draining = false
  #timer: Timer | undefined
  #stopped = false

  constructor(options: PresenceWriterOptions) {
    this.#options = options
    this.#key = presenceKey(options.settings, options.appName)
    this.#id = options.settings.podUid ?? `${hostname()}:${process.pid}`
  }

  start(): void {
    void this.#turn()
  }

  /** Writes once, now. @throws BrokerError */
  async write(): Promise<void> {
    const { store, brokerClock, kind } = this.#options
    brokerClock.correct(await store.time())
    await this.lookDraining()
    const offset = brokerClock.offset
    this.#counter += 1
    const presence: Presence = {
      id: this.#id,
      counter: this.#counter,
      kind,
      hostname: hostname(),
      pid: process.pid,
      version: VERSION,
      offsetSeconds: offset.seconds,
      offsetErrorSeconds: offset.errorSeconds,
      ...this.#facts(),
    }
    await store.writePresence(this.#key, presence, PRESENCE_TTL_SECONDS)
  }

  /** Ends, and takes the field away, so that a process that stopped isn't counted as one that hangs. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    await this.#options.store.removePresence(this.#key, this.#id).catch(() => undefined)
  }

  #facts(): PresenceFacts {
    const facts = this.#options.facts()
    return this.#draining ? { ...facts, detail: { ...facts.detail, draining: true } } : facts
  }

  /**
   * Looks whether this pod is to go. Before each write, so that what that says of busy slots is later than the last take; and before the
   * first take. Never rejects: what can't be read stays as it is.
   */
  async lookDraining(): Promise<void> {
    const { store, settings, onDrain } = this.#options
    if (!onDrain || settings.podUid === undefined) return
    const draining = await store.readDraining(this.#key, this.#id).catch(() => this.#draining)
    if (draining === this.#draining || this.#stopped) return
    this.#draining = draining
    onDrain(draining)
  }

  async #turn(): Promise<void> {
    await this.write().catch(() => undefined)
    if (!this.#stopped)
      this.#timer = this.#options.clock.after(PRESENCE_EVERY_MS, () => void this.#turn(), { background: true })
  }
}
