// Broker URLs: what they say, and how they are shown without their password.
import type { RedisOptions } from 'ioredis'
import { BrokerError } from '../../errors.ts'

/**
 * The connection that a URL describes: `redis://[user:password@]host[:port][/db]`, or `rediss://` for TLS. Nothing of a URL that
 * can't be read is shown: any part of it may be a password.
 * @throws BrokerError `BrokerUrlInvalid`
 */
export function parseBrokerUrl(
  url: string,
): Pick<RedisOptions, 'host' | 'port' | 'username' | 'password' | 'db' | 'tls'> {
  const parsed = read(url)
  if (parsed.hostname === '') throw invalid('it names no host')
  if (parsed.hash !== '' || /\s/.test(url))
    throw invalid('it has a # or a blank: in a user or a password they are written %23 and %20')
  const path = parsed.pathname.slice(1)
  const db = Number(path)
  if (!/^\d*$/.test(path) || !Number.isSafeInteger(db))
    throw invalid('what follows the host is not the number of a database')
  return {
    // IPv6 hosts are written in brackets in a URL and without them everywhere else.
    host: parsed.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: parsed.port === '' ? 6379 : Number(parsed.port),
    db,
    ...(parsed.username === '' ? {} : { username: unescape(parsed.username) }),
    ...(parsed.password === '' ? {} : { password: unescape(parsed.password) }),
    ...(parsed.protocol === 'rediss:' ? { tls: tlsOptions(parsed.searchParams) } : {}),
  }
}

/** redis-py's `ssl_cert_reqs`, which kombu asks for in every rediss URL; other parameters are its own business. */
function tlsOptions(query: URLSearchParams): { rejectUnauthorized?: boolean } {
  const required = query
    .get('ssl_cert_reqs')
    ?.toLowerCase()
    .replace(/^cert_/, '')
  return required === 'none' ? { rejectUnauthorized: false } : {}
}

function read(url: string): URL {
  if (!/^rediss?:\/\//.test(url)) throw invalid('it does not begin with redis:// or rediss://')
  try {
    return new URL(url)
  } catch {
    throw invalid('its host or port can not be read; characters such as / @ : in a password are written %2F, %40, %3A')
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
  const { host, port, db } = parseBrokerUrl(url)
  return { hostname: host ?? '', port: port ?? 6379, virtualHost: String(db ?? 0) }
}

/** A broker URL for a log: without its user's password, and not at all when it can't be read. */
export function showBroker(url: string): string {
  try {
    const { host = '', port, db, username, password, tls } = parseBrokerUrl(url)
    // A user without a password is as likely a password without its colon.
    const user = password === undefined ? '***' : `${username ?? ''}:***`
    const who = username === undefined && password === undefined ? '' : `${user}@`
    return `${tls ? 'rediss' : 'redis'}://${who}${host.includes(':') ? `[${host}]` : host}:${port ?? 6379}/${db ?? 0}`
  } catch {
    return '(a URL that is not shown)'
  }
}

function invalid(why: string): BrokerError {
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
