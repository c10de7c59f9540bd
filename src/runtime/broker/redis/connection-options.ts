// What ioredis is told so that it reaches the broker of a URL: one server, the primary that sentinels name, or the node of a cluster
// that holds our keys. Reads certificates; opens nothing.
import { readFileSync } from 'node:fs'
import type { RedisOptions } from 'ioredis'
import { backoffMs } from '../backoff.ts'
import { clusterConnector } from './cluster-connector.ts'
import { invalid, parseBrokerUrl, type BrokerTarget } from './url.ts'

/** The options of ioredis that say where the broker is, and who asks. */
export type BrokerOptions = Pick<
  RedisOptions,
  | 'host'
  | 'port'
  | 'db'
  | 'username'
  | 'password'
  | 'tls'
  | 'Connector'
  | 'sentinels'
  | 'name'
  | 'role'
  | 'sentinelRetryStrategy'
  | 'sentinelUsername'
  | 'sentinelPassword'
  | 'sentinelTLS'
  | 'enableTLSForSentinelMode'
>

type TlsOptions = NonNullable<RedisOptions['tls']>

/** How often sentinels, or nodes of a cluster, are asked again when none answers. */
const ASK_AGAIN = { baseMs: 100, capMs: 3000 } as const

/**
 * The options of a connection.
 * @param keyPrefix names the slot of a cluster
 * @throws BrokerError `BrokerUrlInvalid`
 */
export function brokerOptions(url: string, keyPrefix: string): BrokerOptions {
  const target = parseBrokerUrl(url)
  const { kind, endpoints, db, username, password, query } = target
  const tls = target.tls ? tlsOptions(query) : undefined
  const common: BrokerOptions = {
    db,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls ? { tls } : {}),
  }
  const again = (attempt: number): number => backoffMs(attempt, ASK_AGAIN, Math.random())
  switch (kind) {
    case 'single':
      return { ...common, ...endpoints[0] }
    case 'sentinel': {
      const [user, secret] = [query.get('sentinel_username'), query.get('sentinel_password')]
      return {
        ...common,
        sentinels: endpoints.map(({ host, port }) => ({ host, port })),
        name: query.get('master_name') ?? '',
        role: 'master',
        sentinelRetryStrategy: again,
        ...(user === null ? {} : { sentinelUsername: user }),
        ...(secret === null ? {} : { sentinelPassword: secret }),
        ...(tls ? { sentinelTLS: tls, enableTLSForSentinelMode: true } : {}),
      }
    }
    case 'cluster':
      return { ...common, Connector: clusterConnector(endpoints, effectivePrefix(target, keyPrefix), again) }
  }
}

/**
 * The prefix of all keys and channels of a broker. A cluster needs one with a hash tag: scripts work on keys of one slot only.
 * @throws BrokerError `BrokerUrlInvalid` for a prefix that would spread the keys of a cluster
 */
export function effectivePrefix({ kind }: Pick<BrokerTarget, 'kind'>, keyPrefix: string): string {
  if (kind !== 'cluster') return keyPrefix
  if (keyPrefix === '') return '{taskqueue}:'
  if (/^[^{]*\{[^}]+\}/.test(keyPrefix)) return keyPrefix
  const example = `{${keyPrefix.replace(/[{}:]/g, '')}}:`
  const why = `a Redis Cluster needs a key prefix with a hash tag, such as ${example}, not ${JSON.stringify(keyPrefix)}`
  throw invalid(why)
}

/** redis-py's parameters, as Celery's rediss URLs have them. */
function tlsOptions(query: URLSearchParams): TlsOptions {
  const required = query
    .get('ssl_cert_reqs')
    ?.toLowerCase()
    .replace(/^cert_/, '')
  const file = (name: string): Buffer | undefined => {
    const path = query.get(name)
    if (path === null) return undefined
    try {
      return readFileSync(path)
    } catch (error) {
      throw invalid(`${name} can't be read: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  const [ca, cert, key] = [file('ssl_ca_certs'), file('ssl_certfile'), file('ssl_keyfile')]
  return {
    ...(required === 'none' ? { rejectUnauthorized: false } : {}),
    ...(query.get('ssl_check_hostname')?.toLowerCase() === 'false' ? { checkServerIdentity: () => undefined } : {}),
    ...(ca ? { ca } : {}),
    ...(cert ? { cert } : {}),
    ...(key ? { key } : {}),
  }
}
