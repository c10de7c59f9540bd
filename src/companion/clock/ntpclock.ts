// Measures this machine's clock against NTP servers, again and again: when each is asked, and what all of them together say. How one is
// asked is ntpserver.ts, and who is believed ntpselection.ts.

import { NtpServer, type AskOptions, type Reading } from './ntpserver.ts'
import { select, type Selection } from './ntpselection.ts'
import { Pause } from './pause.ts'
import type { ServerAddress } from './serverlist.ts'
import { Trouble, type Report } from './trouble.ts'

/** This machine's clock against true time, as far as the servers know it. */
export interface NtpMeasurement {
  /** This machine's clock minus NTP's, in seconds. */
  readonly offsetSeconds: number
  /** Root distance of the server that was taken, in seconds: how far the offset may be wrong. */
  readonly errorSeconds: number
  readonly delaySeconds: number
  /** The server's name, as it was given. */
  readonly source: string
  readonly stratum: number
  /** On the monotonic clock, in milliseconds. */
  readonly at: number
}

/** One server, as /clock tells of it. */
export interface ServerReport {
  readonly name: string
  readonly offsetSeconds: number | null
  readonly delaySeconds: number | null
  readonly stratum: number | null
  readonly state: 'truechimer' | 'falseticker' | 'unknown'
  readonly trouble?: string
}

interface NtpClaim extends Reading {
  readonly name: string
}

const FALSE = 'the other servers agree that its time is wrong'
const MOST_TOLD = 300

export class NtpClock {
  readonly #servers: readonly { server: NtpServer; pause: Pause; trouble: Trouble }[]
  readonly #changed: () => void
  readonly #random: () => number
  /** What all together are in disagreement about. */
  readonly #dispute: Trouble
  #known = false

  /**
   * @param changed called when a time becomes known or unknown
   * @param options for the tests: how servers are asked, and where jitter comes from
   */
  constructor(
    servers: readonly ServerAddress[],
    report: Report,
    changed: () => void,
    options: Partial<AskOptions> & { readonly random?: () => number } = {},
  ) {
    this.#changed = changed
    this.#random = options.random ?? Math.random
    this.#servers = servers.map((address) => ({
      server: new NtpServer(address, options),
      pause: new Pause(),
      trouble: new Trouble(
        report,
        (message) => `NTP server ${address.name}: ${message}.`,
        `NTP server ${address.name} is all right again.`,
      ),
    }))
    this.#dispute = new Trouble(
      report,
      (message) => `This machine's clock is not known: ${message}.`,
      'The NTP servers agree again.',
    )
  }

  /** Undefined while nothing is known. */
  get measurement(): NtpMeasurement | undefined {
    const { chosen } = this.#select()
    if (!chosen) return undefined
    const { offsetSeconds, distanceSeconds, delaySeconds, stratum, at, name } = chosen
    return { offsetSeconds, errorSeconds: distanceSeconds, delaySeconds, source: name, stratum, at }
  }

  /** Why nothing is known; undefined while something is. */
  get trouble(): string | undefined {
    const selection = this.#select()
    if (selection.chosen) return undefined
    if (this.#claims().length > 0) return selection.trouble
    const troubles = this.#servers.flatMap(({ server: { address, trouble } }) =>
      trouble === undefined ? [] : [`${address.name}: ${trouble}`],
    )
    const all = troubles.join('; ') || 'no NTP server has answered yet'
    return all.length > MOST_TOLD ? `${all.slice(0, MOST_TOLD)}...` : all
  }

  get servers(): ServerReport[] {
    const { truechimers, falsetickers } = this.#select()
    return this.#servers.map(({ server }) => {
      const { name } = server.address
      const reading = server.reading
      const among = (claims: readonly NtpClaim[]): boolean => claims.some((claim) => claim.name === name)
      const state = among(truechimers) ? 'truechimer' : among(falsetickers) ? 'falseticker' : 'unknown'
      const trouble = server.trouble ?? (state === 'falseticker' ? FALSE : undefined)
      return {
        name,
        offsetSeconds: reading?.offsetSeconds ?? null,
        delaySeconds: reading?.delaySeconds ?? null,
        stratum: reading?.stratum ?? null,
        state,
        ...(trouble === undefined ? {} : { trouble }),
      }
    })
  }

  /** Measures until the signal aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#servers.map(({ server, pause }) => this.#follow(server, pause, signal)))
  }

  /** The clock was set: what was measured is forgotten, and measured again at once. */
  measureAgain(): void {
    for (const { server, pause } of this.#servers) if (server.forget()) pause.cut()
    this.#settle()
  }

  async #follow(server: NtpServer, pause: Pause, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !server.banned) {
      await server.look(pause, signal, () => this.#settle())
      this.#settle()
      // Not settled: the clock was set during the look.
      if (server.settled) await pause.wait(server.pauseMs * (0.9 + this.#random() * 0.2), signal)
    }
  }

  #claims(): NtpClaim[] {
    return this.#servers.flatMap(({ server }) => {
      const { reading } = server
      return reading ? [{ ...reading, name: server.address.name }] : []
    })
  }

  #select(): Selection<NtpClaim> {
    // The first to answer might be the one that lies: it waits for the others, which answer or fail within seconds.
    if (this.#servers.some(({ server }) => !server.settled))
      return {
        chosen: undefined,
        truechimers: [],
        falsetickers: [],
        trouble: 'not all NTP servers have been asked yet',
      }
    return select(this.#claims())
  }

  #settle(): void {
    const selection = this.#select()
    if (this.#servers.every(({ server }) => server.settled)) {
      const reports = this.servers
      for (const [i, { trouble }] of this.#servers.entries()) trouble.set(reports[i]?.trouble)
      this.#dispute.set(this.#claims().length > 0 ? selection.trouble : undefined)
    }
    const known = selection.chosen !== undefined
    if (known === this.#known) return
    this.#known = known
    this.#changed()
  }
}
