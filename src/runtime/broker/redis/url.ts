// Broker URLs: what they say, and how they are shown without their password. How a connection follows from one is
// connection-options.ts's.
import { BrokerError } from '../../errors.ts'

/** A server. */
export interface Endpoint {
  readonly host: string
  readonly port: number
}

/** What a broker URL says. */
export interface BrokerTarget {
  /** `single`: one server; `sentinel`: sentinels that know the primary; `cluster`: nodes of a Redis Cluster. */
  readonly kind: 'single' | 'sentinel' | 'cluster'
  /** The server, the sentinels, or some nodes of the cluster; at least one. */
  readonly endpoints: readonly Endpoint[]
  readonly db: number
  readonly username?: string
  readonly password?: string
  readonly tls: boolean
  /** The rest of the URL: `master_name`, `sentinel_username`, `sentinel_password`, and redis-py's `ssl_...`. */
  readonly query: URLSearchParams
}

const SCHEMES: Readonly<Record<string, Pick<BrokerTarget, 'kind' | 'tls'> & { readonly port: number }>> = {
  redis: { kind: 'single', tls: false, port: 6379 },
  rediss: { kind: 'single', tls: true, port: 6379 },
  sentinel: { kind: 'sentinel', tls: false, port: 26379 },
  sentinels: { kind: 'sentinel', tls: true, port: 26379 },
  'redis+cluster': { kind: 'cluster', tls: false, port: 6379 },
  'rediss+cluster': { kind: 'cluster', tls: true, port: 6379 },
}

/**
 * Reads a URL:
 * - `redis://[user:password@]host[:port][/db]`; `rediss://` for TLS, with redis-py's `ssl_cert_reqs`, `ssl_ca_certs`, `ssl_certfile`
 *   and `ssl_keyfile`
 * - `sentinel://[user:password@]host[:26379],host[:26379][/db]?master_name=NAME`, also as Celery writes it, with `;sentinel://` between
 *   hosts; `sentinels://` for TLS; `sentinel_username` and `sentinel_password` for the sentinels themselves
 * - `redis+cluster://[user:password@]host[:port],host[:port]`; `rediss+cluster://` for TLS
 *
 * Nothing of a URL that can't be read is shown: any part of it may be a password.
 * @throws BrokerError `BrokerUrlInvalid`
 */
export function parseBrokerUrl(url: string): BrokerTarget {
  const { name, authority, path, query } = split(url)
  const scheme = Object.hasOwn(SCHEMES, name) ? SCHEMES[name] : undefined
  if (!scheme) throw invalid('it does not begin with redis://, rediss://, sentinel:// or redis+cluster://')
  if (/[#\s]/.test(url)) throw invalid('it has a # or a blank: in a user or a password they are written %23 and %20')
  const { kind, tls } = scheme
  const hosts = authority.split(',')
  if (kind === 'single' && hosts.length > 1)
    throw invalid('it names several hosts: sentinel:// and redis+cluster:// may')
  const read = hosts.map((host) => readHost(host, scheme.port))
  const login = read.find(({ username, password }) => username !== undefined || password !== undefined)
  const target: BrokerTarget = {
    kind,
    endpoints: read.map(({ host, port }) => ({ host, port })),
    db: readDatabase(path),
    ...(login?.username === undefined ? {} : { username: login.username }),
    ...(login?.password === undefined ? {} : { password: login.password }),
    tls,
    query: new URLSearchParams(query),
  }
  if (kind === 'cluster' && target.db !== 0) throw invalid('a Redis Cluster has no database but 0')
  if (kind === 'sentinel' && !target.query.get('master_name'))
    throw invalid('it does not say which primary the sentinels shall name: add ?master_name=NAME')
  return target
}

function readDatabase(path: string): number {
  const db = Number(path)
  if (/^\d*$/.test(path) && Number.isSafeInteger(db)) return db
  throw invalid('what follows the host is not the number of a database')
}

function readHost(text: string, defaultPort: number): Endpoint & { username?: string; password?: string } {
  let parsed: URL
  try {
    parsed = new URL(`redis://${text}`)
  } catch {
    throw invalid('its host or port can not be read; characters such as / @ : in a password are written %2F, %40, %3A')
  }
  if (parsed.hostname === '') throw invalid('it names no host')
  return {
    // IPv6 hosts are written in brackets in a URL and without them everywhere else.
    host: parsed.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: parsed.port === '' ? defaultPort : Number(parsed.port),
    ...(parsed.username === '' ? {} : { username: unescape(parsed.username) }),
    ...(parsed.password === '' ? {} : { password: unescape(parsed.password) }),
  }
}

function unescape(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw invalid('its user or password has a bare %, which is written %25')
  }
}

/** The parts of a broker URL that monitors show: no user, no password. */
export function describeBroker(url: string): { hostname: string; port: number; virtualHost: string } {
  const { endpoints, db } = parseBrokerUrl(url)
  return { hostname: endpoints[0]?.host ?? '', port: endpoints[0]?.port ?? 6379, virtualHost: String(db) }
}

/** A broker URL for a log: without its user's password, and not at all when it can't be read. */
export function showBroker(url: string): string {
  try {
    const { endpoints, db, username, password } = parseBrokerUrl(url)
    // A user without a password is as likely a password without its colon.
    const user = password === undefined ? '***' : `${username ?? ''}:***`
    const who = username === undefined && password === undefined ? '' : `${user}@`
    const hosts = endpoints.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`)
    return `${url.slice(0, url.indexOf(':'))}://${who}${hosts.join(',')}/${db}`
  } catch {
    return '(a URL that is not shown)'
  }
}

/**
 * The same URL with other hosts, for a reader who knows them by other names.
 * @param rename the host to take in the place of one, or undefined to keep it
 * @throws BrokerError `BrokerUrlInvalid`
 */
export function renameHosts(url: string, rename: (host: string) => string | undefined): string {
  parseBrokerUrl(url)
  const { name, authority, rest } = split(url)
  const hosts = authority.split(',').map((text) => {
    const [, user = '', host = '', port = ''] = /^(.*@)?(\[[^\]]*\]|[^:]*)(.*)$/.exec(text) ?? []
    return user + (rename(host) ?? host) + port
  })
  return `${name}://${hosts.join(',')}${rest}`
}

/** Celery's lists are whole URLs; what stands behind the last of them stands for all. */
function split(url: string): { name: string; authority: string; rest: string; path: string; query: string } {
  const [, name = '', text = ''] = /^([a-z+]+):\/\/(.*)$/s.exec(url) ?? []
  const [, authority = '', rest = ''] = /^([^/?]*)(.*)$/s.exec(text.replaceAll(`;${name}://`, ',')) ?? []
  const [, path = '', query = ''] = /^(?:\/([^?]*))?(?:\?(.*))?$/s.exec(rest) ?? []
  return { name, authority: authority.replace(/,$/, ''), rest, path, query }
}

/** @param why what is wrong with it, which shows nothing of it */
export function invalid(why: string): BrokerError {
  return new BrokerError('BrokerUrlInvalid', `the broker URL can't be used: ${why} (redis://host:6379/0 is one)`)
}

/**
 * Text of others, such as an error's, with every password in a URL replaced: what comes before the last @, and the values of a
 * query.
 */
export function redactText(text: string): string {
  return text
    .replace(/([a-z][a-z0-9+.-]*:\/\/)([^\n]*)@/gi, (_, scheme: string, userinfo: string) => {
      const colon = userinfo.indexOf(':')
      return `${scheme}${colon < 0 ? '***' : `${userinfo.slice(0, colon)}:***`}@`
    })
    .replace(/([?&][^=&\s]*=)[^&\s"']+/g, '$1***')
}
