// List, then watch with bookmarks, for as long as the signal lets it: the loop that keeps a cache true. It survives 410, closed
// and half-open connections and an API server that is away. Not an event handler: it only tells a sink what is there now.

import type { Clock } from '../clock.ts'
import { ApiError, OperatorError, messageOf } from '../errors.ts'
import type { KubeObject } from '../objects.ts'
import type { KubeClient } from './client.ts'
import { pathOf, type Resource } from './resources.ts'

/**
 * Where the objects go. `replace` is the whole truth of a namespace ('' for all) at the list's version; the others are single
 * changes. `keep` takes off what nobody reads, so that a long list is not held whole.
 */
export interface WatchSink<T extends KubeObject> {
  keep?(object: T): T
  replace(objects: T[], namespace: string, version: string): void
  upsert(object: T): void
  remove(object: T): void
}

export interface WatchTarget {
  resource: Resource
  /** Empty for all namespaces. */
  namespace: string
  labelSelector?: string
}

export interface WatchOptions {
  /** The server ends a watch after about this long, with jitter, and it is opened again. Seconds. */
  timeoutSeconds: number
  /** A connection on which nothing came for so long is taken as dead. The server's bookmarks come about every 60 s. */
  inactivityMs: number
  maxBackoffMs: number
}

const DEFAULTS: WatchOptions = { timeoutSeconds: 420, inactivityMs: 75_000, maxBackoffMs: 30_000 }
/** Small, since a page is held several times over while it is read, and every kind is listed at once after a start. */
const PAGE = '100'
/** So many failures in a row, and the truth is listed anew. */
const RELIST_AFTER = 5

interface WatchEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR'
  object: KubeObject & { code?: number; message?: string }
}

/** Raised inside the loop when the server no longer has the history that we ask for. */
class ResourceVersionExpired extends Error {}

export class Watch<T extends KubeObject> {
  readonly #client: KubeClient
  readonly #target: WatchTarget
  readonly #sink: WatchSink<T>
  readonly #clock: Clock
  readonly #random: () => number
  readonly #options: WatchOptions
  readonly #onTrouble: (message: string) => void
  readonly #synced = Promise.withResolvers<undefined>()

  constructor(
    client: KubeClient,
    target: WatchTarget,
    sink: WatchSink<T>,
    clock: Clock,
    onTrouble: (message: string) => void,
    options: Partial<WatchOptions> = {},
    random: () => number = Math.random,
  ) {
    this.#client = client
    this.#target = target
    this.#sink = sink
    this.#clock = clock
    this.#random = random
    this.#onTrouble = onTrouble
    this.#options = { ...DEFAULTS, ...options }
  }

  /** Resolves after the first whole list. */
  get synced(): Promise<undefined> {
    return this.#synced.promise
  }

  /** Runs until the signal aborts. Never rejects: trouble is told, waited out with jittered back-off, and tried again. */
  async run(signal: AbortSignal): Promise<void> {
    let version: string | undefined
    let failures = 0
    for (;;) {
      try {
        version ??= await this.#list(signal)
        for await (const next of this.#watch(version, signal)) {
          version = next
          failures = 0
        }
        // Ended in good order. A short rest, in case something on the way ends every watch at once.
        await this.#rest(200, signal)
      } catch (error) {
        if (signal.aborted) return
        failures++
        // A list that is refused or a watch that breaks says nothing about the objects: the cache stays as it is.
        const expired = error instanceof ResourceVersionExpired
        // A server restored from a backup, or a version that it can't read, may refuse the same watch for ever.
        if (expired || failures % RELIST_AFTER === 0) version = undefined
        if (!expired) this.#onTrouble(`${this.#target.resource.plural}: ${messageOf(error)}`)
        await this.#rest(Math.min(this.#options.maxBackoffMs, 250 * 2 ** Math.min(failures, 10)), signal)
      }
    }
  }

  /** Between half of `ceiling` and all of it, so that many watches don't come back in step. */
  async #rest(ceiling: number, signal: AbortSignal): Promise<void> {
    await this.#clock.sleep(ceiling / 2 + (this.#random() * ceiling) / 2, signal)
  }

  async #list(signal: AbortSignal): Promise<string> {
    const objects: T[] = []
    let next = ''
    for (;;) {
      const query = { ...this.#selector(), limit: PAGE, ...(next === '' ? {} : { continue: next }) }
      const page = (await this.#client.json('GET', this.#path(), { query, signal })) as {
        metadata: { resourceVersion: string; continue?: string }
        items: T[]
      }
      // Items of a list carry no apiVersion and kind of their own.
      const { apiVersion, kind } = this.#target.resource
      for (const item of page.items) {
        const object = { ...item, apiVersion, kind }
        objects.push(this.#sink.keep?.(object) ?? object)
      }
      next = page.metadata.continue ?? ''
      if (next === '') {
        this.#sink.replace(objects, this.#target.namespace, page.metadata.resourceVersion)
        this.#synced.resolve(undefined)
        return page.metadata.resourceVersion
      }
    }
  }

  /** Yields the resource version after each event. Returns when the server ends the watch in good order. */
  async *#watch(version: string, signal: AbortSignal): AsyncGenerator<string> {
    const quiet = new AbortController()
    let last = this.#clock.monotonic()
    const check = setInterval(() => {
      if (this.#clock.monotonic() - last > this.#options.inactivityMs) quiet.abort(new Error('nothing was heard'))
    }, 1_000)
    try {
      const seconds = Math.round(this.#options.timeoutSeconds * (1 + this.#random() * 0.4))
      const response = await this.#client.open('GET', this.#path(), {
        query: {
          ...this.#selector(),
          watch: 'true',
          allowWatchBookmarks: 'true',
          resourceVersion: version,
          timeoutSeconds: String(seconds),
        },
        signal: AbortSignal.any([signal, quiet.signal]),
      })
      let rest = ''
      response.setEncoding('utf8')
      for await (const chunk of response) {
        last = this.#clock.monotonic()
        const lines = (rest + (chunk as string)).split('\n')
        rest = lines.pop() ?? ''
        for (const line of lines) if (line !== '') yield this.#take(JSON.parse(line) as WatchEvent)
      }
    } catch (error) {
      if (error instanceof ApiError && error.status === 410) throw new ResourceVersionExpired()
      throw quiet.signal.aborted
        ? new OperatorError('ApiUnreachable', `the watch was silent for ${this.#options.inactivityMs} ms: opened again`)
        : error
    } finally {
      clearInterval(check)
    }
  }

  #take(event: WatchEvent): string {
    const object = event.object as unknown as T
    switch (event.type) {
      case 'ADDED':
      case 'MODIFIED':
        this.#sink.upsert(object)
        break
      case 'DELETED':
        this.#sink.remove(object)
        break
      case 'BOOKMARK':
        break
      case 'ERROR':
        if (event.object.code === 410) throw new ResourceVersionExpired()
        throw new OperatorError('ApiUnreachable', `the watch ended with: ${event.object.message ?? 'no reason given'}`)
    }
    return object.metadata.resourceVersion ?? ''
  }

  #path(): string {
    return pathOf(this.#target.resource, this.#target.namespace)
  }

  #selector(): Record<string, string> {
    return this.#target.labelSelector === undefined ? {} : { labelSelector: this.#target.labelSelector }
  }
}
