// Reads lists of servers: `name`, `name:port`, `[v6]:port`, a bare v6 address. Pure; names are not resolved here.

import { isIPv6 } from 'node:net'

export interface ServerAddress {
  /** As it was given: the name that everything is told under. */
  readonly name: string
  readonly host: string
  readonly port: number
}

const HOST = /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?$/

/** Servers by commas. A bad or repeated one is left out, with a sentence in `problems`. */
export function readServers(
  variable: string,
  text: string | undefined,
  defaultPort: number,
  problems: string[],
): ServerAddress[] {
  const servers: ServerAddress[] = []
  for (const name of (text ?? '').split(',').map((entry) => entry.trim())) {
    if (name === '') continue
    const server = readServer(name, defaultPort)
    if (!server)
      problems.push(
        `${variable} names "${name}": give name, name:port or [v6 address]:port, with a port from 1 to 65535. It is left out.`,
      )
    else if (servers.some(({ host, port }) => host === server.host && port === server.port))
      problems.push(`${variable} names "${name}" twice: it has one voice.`)
    else servers.push(server)
  }
  return servers
}

/** One server; undefined when the text is none. */
export function readServer(name: string, defaultPort: number): ServerAddress | undefined {
  if (isIPv6(name)) return { name, host: name, port: defaultPort }
  const [, v6, plain, digits] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(\d{1,5}))?$/.exec(name) ?? []
  const host = v6 ?? plain ?? ''
  const port = digits === undefined ? defaultPort : Number(digits)
  const known = v6 === undefined ? host.length <= 253 && HOST.test(host) : isIPv6(v6)
  return known && port >= 1 && port <= 65_535 ? { name, host, port } : undefined
}
