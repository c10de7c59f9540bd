// One connection to Redis: opens it, says when it is there and when it is gone, turns its errors into coded ones. It never
// resends and never queues: a command either runs now or fails now, and only its caller knows whether it may be repeated.
import { Redis } from 'ioredis'
import { BrokerError, type BrokerErrorCode, asError } from '../../errors.ts'
import { backoffMs } from '../backoff.ts'
import { brokerOptions } from './connection-options.ts'
import { redactText, showBroker } from './url.ts'

/** Time limits of a connection, in milliseconds. */
export interface ConnectionTimeouts {
  /** Opening the socket and the handshake. Default 5000. */
  readonly connectMs?: number
  /** A reply to a command that doesn't block. A socket that is silent for longer is taken for dead. Default 5000. */
  readonly commandMs?: number
}

export interface ConnectionOptions {
  readonly url: string
  /** The global key prefix, which in a Redis Cluster names the node that has our keys. */
  readonly keyPrefix: string
  /** Shown in CLIENT LIST. */
  readonly name: string
  readonly timeouts?: ConnectionTimeouts
  /** Longest time a command blocks by intention; added to the limit on silence. */
  readonly blockingMs?: number
  /** Called with each connect, before anyone else may use the connection. */
  readonly onConnect?: (redis: Redis) => Promise<void>
  readonly random?: () => number
  /** Called when connecting fails for another reason than before. */
  readonly onTrouble?: (message: string) => void
}

/** Which broker, for whoever opens connections of its own to it. */
export type BrokerAddress = Pick<ConnectionOptions, 'url' | 'keyPrefix' | 'timeouts'>

/** Reconnecting: quick at first, and never so slow that leases end before we are back (consumer.ts, RECOVERY_DELAY_MS). */
const RECONNECT = { baseMs: 100, capMs: 3000 } as const

/** How often a server that reads its data is asked whether it has. Milliseconds. */
const LOADING_CHECK_MS = 500
/** A handshake that takes so long is taken for a server that reads its data. Milliseconds. */
const LOADING_TELL_MS = 2000

/** A connection that comes back by itself. */
export class RedisConnection {
  readonly redis: Redis
  readonly #random: () => number
  readonly #url: string
  #ready = false
  #closed = false
  /** How often in a row a server that could be reached was not fit to be used. */
  #refusals = 0
  #lastError: BrokerError | undefined
  #reported: string | undefined
  readonly #onTrouble: ConnectionOptions['onTrouble']
  readonly #listeners = new Set<(ready: boolean) => void>()

  /** @throws BrokerError `BrokerUrlInvalid` */
  constructor(options: ConnectionOptions) {
    this.#url = options.url
    this.#random = options.random ?? Math.random
    this.#onTrouble = options.onTrouble
    const commandMs = options.timeouts?.commandMs ?? 5000
    this.redis = new Redis({
      ...brokerOptions(options.url, options.keyPrefix),
      // RESP2 has one shape for each reply; nothing here needs RESP3.
      protocol: 2,
      connectionName: options.name,
      connectTimeout: options.timeouts?.connectMs ?? 5000,
      socketTimeout: commandMs + (options.blockingMs ?? 0),
      lazyConnect: true,
      // ioredis waits by itself while Redis reads its data, and says nothing.
      maxLoadingRetryTime: LOADING_CHECK_MS,
      // A take that is sent twice strands its first batch. With resending off, ioredis settles the commands of a broken
      // connection only if maxRetriesPerRequest is 0; otherwise their promises hang for ever.
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      autoResubscribe: false,
      // A primary that became a replica: the name in the URL, the sentinels or the cluster lead to the new one.
      reconnectOnError: (error) => /^(READONLY|MOVED)/.test(error.message),
      // A connect counts as good only once onConnect has done its part: ioredis begins at 1 again before that.
      retryStrategy: (attempt) => backoffMs(attempt + this.#refusals, RECONNECT, this.#random()),
    })
    this.redis.on('error', (error: Error) => this.#fail(error))
    this.redis.on('connect', () => this.#tellLoading())
    this.redis.on('ready', () => void this.#prepare(options.onConnect))
    this.redis.on('close', () => {
      if (this.#ready) this.#lastError = this.coded(new Error('the connection is closed'))
      this.#set(false)
    })
  }

  get ready(): boolean {
    return this.#ready
  }

  /** It was ended by close(), and does not come back. */
  get closed(): boolean {
    return this.#closed
  }

  /** The last error since the connection was lost; undefined while it is there. */
  get error(): BrokerError | undefined {
    return this.#ready ? undefined : this.#lastError
  }

  /** Calls back with each change between ready and not. */
  onChange(listener: (ready: boolean) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Resolves once the connection can be used.
   * @throws BrokerError after `timeoutMs`, with the reason of the last attempt
   */
  async whenReady(timeoutMs: number): Promise<void> {
    if (this.#ready) return
    if (this.#closed) throw new BrokerError('BrokerUnreachable', 'the connection to the broker is closed')
    this.open()
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => finish(this.#unreachable(timeoutMs)), timeoutMs)
      const stop = this.onChange((ready) => {
        if (ready) finish()
        else if (this.#closed) finish(new BrokerError('BrokerUnreachable', 'the connection to the broker was closed'))
      })
      function finish(error?: BrokerError): void {
        clearTimeout(timer)
        stop()
        if (error) reject(error)
        else resolve()
      }
    })
  }

  /** Starts connecting, and goes on until it works or close() is called. */
  open(): void {
    // The rejection is the first attempt's only; the retries go on, and #fail has its reason.
    if (this.redis.status === 'wait') this.redis.connect().catch(() => undefined)
  }

  /** A coded error for whatever a command threw. */
  coded(error: unknown): BrokerError {
    return codedError(error, this.#url)
  }

  /** Ends the connection; commands under way fail. */
  close(): void {
    this.#closed = true
    this.redis.disconnect()
    this.#set(false)
    for (const listener of [...this.#listeners]) listener(false)
  }

  /** Connected, and after a while not yet ready: it can be nothing else. */
  #tellLoading(): void {
    const timer = setTimeout(() => {
      if (this.redis.status === 'connect') this.#fail(new Error('LOADING Redis is loading the dataset in memory'))
    }, LOADING_TELL_MS)
    timer.unref()
  }

  async #prepare(onConnect: ConnectionOptions['onConnect']): Promise<void> {
    try {
      await onConnect?.(this.redis)
      if (this.redis.status === 'ready') this.#set(true)
    } catch (error) {
      this.#refusals += 1
      this.#fail(asError(error))
      if (!this.#closed) this.redis.disconnect(true)
    }
  }

  #set(ready: boolean): void {
    if (this.#ready === ready) return
    this.#ready = ready
    if (ready) {
      this.#lastError = this.#reported = undefined
      this.#refusals = 0
    }
    for (const listener of [...this.#listeners]) listener(ready)
  }

  #fail(error: Error): void {
    this.#lastError = this.coded(error)
    const { message } = this.#lastError
    if (message !== this.#reported) this.#onTrouble?.(message)
    this.#reported = message
  }

  #unreachable(timeoutMs: number): BrokerError {
    if (this.#lastError) return this.#lastError
    return new BrokerError(
      'BrokerTimeout',
      `the broker at ${showBroker(this.#url)} gave no answer within ${timeoutMs} ms`,
    )
  }
}

const BY_PREFIX: readonly (readonly [RegExp, BrokerErrorCode, string])[] = [
  [
    /^(WRONGPASS|NOAUTH)|invalid username-password|^ERR AUTH/,
    'BrokerAuthFailed',
    'check the user and the password in the URL',
  ],
  [/^NOPERM/, 'BrokerAuthFailed', 'the ACL of this user lacks a right'],
  [/^LOADING/, 'BrokerLoading', 'Redis is reading its data; this passes'],
  [/^READONLY/, 'BrokerReadOnly', 'this is a replica: point the URL at the primary'],
  [
    /^(MOVED|ASK|CLUSTERDOWN|TRYAGAIN)/,
    'BrokerMoved',
    'the keys are moving to another node; a URL of one node of a cluster begins with redis+cluster://',
  ],
  [
    /^WRONGTYPE/,
    'BrokerRefused',
    'a key that we would use, such as the list of a queue, holds something else: name the queue otherwise, or set a key prefix',
  ],
  [
    /^(NOREPLICAS|MISCONF|MASTERDOWN|BUSY)/,
    'BrokerNotWritable',
    'the server takes no writes at the moment: see its own log for the reason',
  ],
  [/^OOM/, 'BrokerOutOfMemory', 'Redis is at maxmemory: raise it, or let workers drain the queues'],
  [/Unknown script flag|unknown flag|Unexpected flag/, 'BrokerTooOld', 'Redis >= 7.0 or Valkey >= 7.2 is needed'],
]

/** Turns what ioredis throws into a BrokerError that names the broker without its password. */
export function codedError(error: unknown, url: string): BrokerError {
  if (error instanceof BrokerError) return error
  const cause = asError(error)
  const text = withoutScript(redactText(cause.message || (cause as NodeJS.ErrnoException).code || cause.name))
  const where = showBroker(url)
  for (const [pattern, code, advice] of BY_PREFIX) {
    if (pattern.test(cause.message)) return new BrokerError(code, `the broker at ${where} said "${text}": ${advice}`)
  }
  const { code } = cause as NodeJS.ErrnoException
  if (
    code !== undefined ||
    /connection is closed|stream isn't writeable|max retries per request|socket timeout|etimedout/i.test(text)
  ) {
    return new BrokerError('BrokerUnreachable', `the broker at ${where} can't be reached: ${text}`)
  }
  return new BrokerError('BrokerRefused', `the broker at ${where} said "${text}"`)
}

/** What Redis adds of where in a script an error was is for nobody. */
function withoutScript(text: string): string {
  return text.replace(/\s*script: [0-9a-f]{40}, on @user_script:\d+\.?$/, '')
}
