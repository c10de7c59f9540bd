// Broker URLs: what they say, and how they are shown without their password.
import type { RedisOptions } from 'ioredis'
import { BrokerError } from '../../errors.ts'

/**
 * The connection that a URL describes: `redis://[user:password@]host[:port][/db]`, or `rediss://` for TLS.
 * @throws BrokerError `BrokerUrlInvalid`
 */
export function parseBrokerUrl(
  url: string,
): Pick<RedisOptions, 'host' | 'port' | 'username' | 'password' | 'db' | 'tls'> {
  let parsed: URL
  try {
    parsed = new URL(url)
  } catch {
    throw invalid(url, 'it is not a URL')
  }
  if (parsed.protocol !== 'redis:' && parsed.protocol !== 'rediss:') {
    throw invalid(url, `its scheme is ${parsed.protocol.slice(0, -1)}; redis and rediss are known`)
  }
  if (parsed.hostname === '') throw invalid(url, 'it names no host')
  const db = parsed.pathname === '' || parsed.pathname === '/' ? 0 : Number(parsed.pathname.slice(1))
  if (!Number.isInteger(db) || db < 0) throw invalid(url, `its database ${parsed.pathname.slice(1)} is not a number`)
  return {
    // IPv6 hosts are written in brackets in a URL and without them everywhere else.
    host: parsed.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: parsed.port === '' ? 6379 : Number(parsed.port),
    db,
    ...(parsed.username === '' ? {} : { username: decodeURIComponent(parsed.username) }),
    ...(parsed.password === '' ? {} : { password: decodeURIComponent(parsed.password) }),
    ...(parsed.protocol === 'rediss:' ? { tls: {} } : {}),
  }
}

/** The parts of a broker URL that monitors show: no user, no password. */
export function describeBroker(url: string): { hostname: string; port: number; virtualHost: string } {
  const { host, port, db } = parseBrokerUrl(url)
  return { hostname: host ?? '', port: port ?? 6379, virtualHost: String(db ?? 0) }
}

function invalid(url: string, why: string): BrokerError {
  return new BrokerError(
    'BrokerUrlInvalid',
    `the broker URL ${redactText(url)} can't be used: ${why} (redis://host:6379/0 is one)`,
  )
}

/**
 * Text with every password in a URL replaced. Everything up to the last @ counts as user and password, so that one with
 * unescaped characters, which makes the URL invalid, isn't shown either.
 */
export function redactText(text: string): string {
  return text.replace(/([a-z][a-z0-9+.-]*:\/\/)([^\s"'<>]*)@/gi, (_, scheme: string, userinfo: string) => {
    const colon = userinfo.indexOf(':')
    return `${scheme}${colon < 0 ? userinfo : `${userinfo.slice(0, colon)}:***`}@`
  })
}
