// Events on a TaskQueue: one for each change of a condition and each action, none for what stays as it is. Not a log.

import type { Clock } from './clock.ts'
import { timestamp, type KubeObject } from './objects.ts'

export type EventType = 'Normal' | 'Warning'

export interface EventNote {
  type: EventType
  /** CamelCase, stable. */
  reason: string
  message: string
}

export interface KubeEvent extends Omit<KubeObject, 'metadata'> {
  metadata: { name: string; namespace: string }
  involvedObject: Record<string, string>
  reason: string
  message: string
  type: EventType
  source: { component: string }
  reportingComponent: string
  reportingInstance: string
  firstTimestamp: string
  lastTimestamp: string
  count: number
}

export type PostEvent = (event: KubeEvent) => Promise<void>

/** The same note again within this time is not told again. */
const QUIET_MS = 300_000
const MAX_MESSAGE = 1024
const MAX_REMEMBERED = 4096
/** After each: an Event is a remark, and what it is about is written before it. So a thousand new TaskQueues don't wait for remarks. */
const PAUSE_MS = 20
/** Beyond so many that wait, the API server is away or far too slow for remarks. */
const MAX_WAITING = 10_000

/** Tells Events, and never fails for it: an Event that can't be written is told to `onError` and forgotten. */
export class EventRecorder {
  readonly #post: PostEvent
  readonly #clock: Clock
  readonly #instance: string
  readonly #onError: (error: unknown) => void
  readonly #told = new Map<string, number>()
  readonly #waiting: KubeEvent[] = []
  #sending = false
  #counter = 0

  constructor(post: PostEvent, clock: Clock, instance: string, onError: (error: unknown) => void) {
    this.#post = post
    this.#clock = clock
    this.#instance = instance
    this.#onError = onError
  }

  record(about: KubeObject, note: EventNote): void {
    const now = this.#clock.monotonic()
    const key = `${about.metadata.uid ?? ''}/${note.reason}/${note.message}`
    const last = this.#told.get(key)
    if (last !== undefined && now - last < QUIET_MS) return
    this.#told.delete(key)
    this.#told.set(key, now)
    if (this.#told.size > MAX_REMEMBERED) this.#told.delete(this.#told.keys().next().value ?? '')
    if (this.#waiting.length >= MAX_WAITING) this.#waiting.shift()
    this.#waiting.push(this.#build(about, note))
    if (!this.#sending) void this.#send()
  }

  async #send(): Promise<void> {
    this.#sending = true
    for (let event = this.#waiting.shift(); event; event = this.#waiting.shift()) {
      await this.#post(event).catch(this.#onError)
      await this.#clock.sleep(PAUSE_MS)
    }
    this.#sending = false
  }

  #build(about: KubeObject, note: EventNote): KubeEvent {
    const at = this.#clock.now()
    const { name, namespace = 'default', uid = '', resourceVersion = '' } = about.metadata
    this.#counter++
    return {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: {
        name: `${name}.${at.getTime().toString(16)}${this.#counter.toString(16).padStart(4, '0')}`,
        namespace,
      },
      involvedObject: { apiVersion: about.apiVersion, kind: about.kind, name, namespace, uid, resourceVersion },
      reason: note.reason,
      message: note.message.slice(0, MAX_MESSAGE),
      type: note.type,
      source: { component: 'taskqueue-operator' },
      reportingComponent: 'taskqueue.dev/operator',
      reportingInstance: this.#instance,
      firstTimestamp: timestamp(at),
      lastTimestamp: timestamp(at),
      count: 1,
    }
  }
}
