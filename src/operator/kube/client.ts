// Requests to the API server, with bodies as raw JSON. Every request has a time limit; 429 is waited for. Not a cache (cache.ts), nor
// where credentials come from (credentials.ts).

import { Agent, request as httpsRequest } from 'node:https'
import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http'
import type { Clock } from '../clock.ts'
import { ApiError, OperatorError, isNotFound, messageOf } from '../errors.ts'
import type { KubeObject } from '../objects.ts'
import { credentialsFrom, credentialsOf, type Credentials } from './credentials.ts'
import { apiRoot, pathOf, resourceOf, type Resource } from './resources.ts'

export interface RequestOptions {
  query?: Record<string, string>
  body?: unknown
  contentType?: string
  /** Milliseconds until the request is given up. Default 30,000. */
  timeoutMs?: number
  signal?: AbortSignal
}

export interface DeleteOptions {
  /** Refused with 409 when the live object has another UID. */
  uid?: string
  propagation?: 'Background' | 'Foreground' | 'Orphan'
}

const DEFAULT_TIMEOUT_MS = 30_000
/** Attempts at a request that is answered with 429 (API priority and fairness). */
const MAX_ATTEMPTS = 4
/** A bound token is renewed by the kubelet long before it ends; reading it again this often is soon enough. */
const CREDENTIALS_TTL_MS = 60_000

/** One API server, one set of credentials, one pool of connections. */
export class KubeClient {
  readonly #load: () => Promise<Credentials>
  readonly #clock: Clock
  readonly #userAgent: string
  #credentials: { value: Credentials; at: number } | undefined
  #agent: Agent | undefined

  /**
   * @param load reads the credentials; again when the API server refuses them
   * @param userAgent who the API server's audit log says that it was
   */
  constructor(load: () => Promise<Credentials>, clock: Clock, userAgent = 'taskqueue-operator') {
    this.#load = load
    this.#clock = clock
    this.#userAgent = userAgent
  }

  /** From `KUBECONFIG`, ~/.kube/config or the pod's service account, in kubectl's order. @throws OperatorError `SettingInvalid` */
  static async fromEnvironment(env: NodeJS.ProcessEnv, clock: Clock): Promise<KubeClient> {
    const client = new KubeClient(() => credentialsOf(env), clock)
    await client.#known()
    return client
  }

  static fromFile(path: string, clock: Clock, userAgent?: string): KubeClient {
    return new KubeClient(() => credentialsFrom(path), clock, userAgent)
  }

  /** The API server's address, for logs. */
  get server(): string {
    return this.#credentials?.value.url.href ?? '(not known yet)'
  }

  /** One object; undefined when there is none. */
  async get<T extends KubeObject>(
    resource: Resource,
    namespace: string,
    name: string,
    signal?: AbortSignal,
  ): Promise<T | undefined> {
    try {
      return (await this.json('GET', pathOf(resource, namespace, name), signal ? { signal } : {})) as T
    } catch (error) {
      if (isNotFound(error)) return undefined
      throw error
    }
  }

  /** Whether the cluster has this kind at all. */
  async has(resource: Resource): Promise<boolean> {
    try {
      const found = (await this.json('GET', apiRoot(resource))) as { resources?: { name: string }[] }
      return found.resources?.some(({ name }) => name === resource.plural) === true
    } catch (error) {
      if (isNotFound(error)) return false
      throw error
    }
  }

  async create<T extends KubeObject>(object: T, fieldManager: string, signal?: AbortSignal): Promise<T> {
    const path = pathOf(resourceOf(object.kind), object.metadata.namespace)
    return (await this.json('POST', path, {
      query: { fieldManager },
      body: object,
      ...(signal ? { signal } : {}),
    })) as T
  }

  /** What the API server would make of a new object: validated, admitted and not stored. */
  async tryCreate(object: KubeObject): Promise<void> {
    const path = pathOf(resourceOf(object.kind), object.metadata.namespace)
    await this.json('POST', path, { query: { dryRun: 'All' }, body: object })
  }

  /** Replaces the object; its resourceVersion, when given, must be the live one. */
  async replace<T extends KubeObject>(object: T, fieldManager: string, signal?: AbortSignal): Promise<T> {
    const path = pathOf(resourceOf(object.kind), object.metadata.namespace, object.metadata.name)
    return (await this.json('PUT', path, { query: { fieldManager }, body: object, ...(signal ? { signal } : {}) })) as T
  }

  /** Server-side apply, taking over fields from whoever has them. */
  async apply<T extends KubeObject>(object: KubeObject, fieldManager: string, subresource?: string): Promise<T> {
    return this.#apply<T>(object, { fieldManager, force: 'true' }, subresource)
  }

  /** What the object would be after an apply; nothing is stored. */
  async tryApply<T extends KubeObject>(object: T, fieldManager: string): Promise<T> {
    return this.#apply<T>(object, { fieldManager, force: 'true', dryRun: 'All' })
  }

  async #apply<T extends KubeObject>(
    object: KubeObject,
    query: Record<string, string>,
    subresource?: string,
  ): Promise<T> {
    const kind = subresource === 'scale' ? 'Deployment' : object.kind
    const path = pathOf(resourceOf(kind), object.metadata.namespace, object.metadata.name, subresource)
    return (await this.json('PATCH', path, { query, body: object, contentType: 'application/apply-patch+yaml' })) as T
  }

  /** Changes some fields of an object that server-side apply can't be used for: a Pod's labels and annotations. */
  async mergePatch<T extends KubeObject>(
    resource: Resource,
    namespace: string,
    name: string,
    patch: Record<string, unknown>,
    fieldManager: string,
  ): Promise<T> {
    return (await this.json('PATCH', pathOf(resource, namespace, name), {
      query: { fieldManager },
      body: patch,
      contentType: 'application/merge-patch+json',
    })) as T
  }

  /**
   * Deletes. Resolves with the object as it is while it still ends, and with undefined when it is gone: also when it was gone
   * already, which is no error.
   */
  async delete<T extends KubeObject>(
    resource: Resource,
    namespace: string,
    name: string,
    options: DeleteOptions = {},
  ): Promise<T | undefined> {
    const body: Record<string, unknown> = { propagationPolicy: options.propagation ?? 'Background' }
    if (options.uid !== undefined) body.preconditions = { uid: options.uid }
    try {
      const answer = (await this.json('DELETE', pathOf(resource, namespace, name), { body })) as T
      const { deletionTimestamp, deletionGracePeriodSeconds } = answer.metadata
      const ends = answer.kind === resource.kind && deletionTimestamp !== undefined && deletionGracePeriodSeconds !== 0
      return ends ? answer : undefined
    } catch (error) {
      if (!isNotFound(error)) throw error
      return undefined
    }
  }

  /** A request with a JSON answer. Throws ApiError for a refusal and OperatorError `ApiUnreachable` for no answer. */
  async json(method: string, path: string, options: RequestOptions = {}): Promise<unknown> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#once(method, path, options)
      } catch (error) {
        const wait = error instanceof ApiError && error.status === 429 ? (error.retryAfterSeconds ?? 1) : undefined
        if (wait === undefined || attempt >= MAX_ATTEMPTS) throw error
        await this.#clock.sleep(wait * 1000, options.signal)
      }
    }
  }

  async #once(method: string, path: string, options: RequestOptions): Promise<unknown> {
    const deadline = AbortSignal.timeout(options.timeoutMs ?? DEFAULT_TIMEOUT_MS)
    const signal = options.signal ? AbortSignal.any([options.signal, deadline]) : deadline
    const response = await this.open(method, path, { ...options, signal })
    try {
      return JSON.parse(await readAll(response)) as unknown
    } catch (error) {
      throw unreachable(`${method} ${path}`, error)
    }
  }

  /**
   * Sends a request and resolves with its answer's stream once the status is good.
   * The caller's signal ends both.
   */
  async open(method: string, path: string, options: RequestOptions): Promise<IncomingMessage> {
    const label = `${method} ${path}`
    const credentials = await this.#known()
    const url = new URL(path, credentials.url)
    for (const [name, value] of Object.entries(options.query ?? {})) url.searchParams.set(name, value)
    let response: IncomingMessage
    try {
      response = await this.#send(credentials, method, url, options)
    } catch (error) {
      throw unreachable(label, error)
    }
    const status = response.statusCode ?? 0
    if (status >= 200 && status < 300) return response
    // A token that was rotated is read anew on the next request.
    if (status === 401) this.#credentials = undefined
    throw apiError(label, status, response, await readAll(response).catch(() => ''))
  }

  #send(credentials: Credentials, method: string, url: URL, options: RequestOptions): Promise<IncomingMessage> {
    const body = options.body === undefined ? undefined : Buffer.from(JSON.stringify(options.body))
    const headers: Record<string, string> = {
      accept: 'application/json',
      'user-agent': this.#userAgent,
      ...credentials.headers,
    }
    if (body !== undefined) {
      headers['content-type'] = options.contentType ?? 'application/json'
      headers['content-length'] = String(body.length)
    }
    return new Promise((resolve, reject) => {
      const shared = { method, headers, ...(options.signal ? { signal: options.signal } : {}) }
      const request: ClientRequest =
        url.protocol === 'https:'
          ? httpsRequest(url, { ...shared, agent: this.#pool(credentials) }, resolve)
          : httpRequest(url, shared, resolve)
      request.on('error', reject)
      request.end(body)
    })
  }

  #pool({ tls }: Credentials): Agent {
    this.#agent ??= new Agent({ keepAlive: true, keepAliveMsecs: 15_000, maxSockets: 64, ...tls })
    return this.#agent
  }

  async #known(): Promise<Credentials> {
    const now = this.#clock.monotonic()
    if (this.#credentials && now - this.#credentials.at < CREDENTIALS_TTL_MS) return this.#credentials.value
    const value = await this.#load()
    this.#credentials = { value, at: now }
    return value
  }

  /** Closes idle connections. */
  close(): void {
    this.#agent?.destroy()
  }
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

function unreachable(label: string, error: unknown): OperatorError {
  if (error instanceof OperatorError) return error
  return new OperatorError('ApiUnreachable', `${label} got no answer from the API server: ${messageOf(error)}`, {
    cause: error,
  })
}

function apiError(label: string, status: number, response: IncomingMessage, body: string): ApiError {
  let reason = response.statusMessage ?? 'Unknown'
  let explanation = body.slice(0, 2000)
  try {
    const parsed = JSON.parse(body) as { reason?: string; message?: string }
    reason = parsed.reason ?? reason
    explanation = parsed.message ?? explanation
  } catch {
    // A proxy in between may answer in HTML or not at all: its text is all there is to say.
  }
  const retryAfter = Number(response.headers['retry-after'])
  return new ApiError(label, status, reason, explanation, retryAfter > 0 ? retryAfter : undefined)
}
