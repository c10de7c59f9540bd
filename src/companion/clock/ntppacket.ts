// NTP's packet as a client of RFC 5905 needs it: the question, the answer, and what makes an answer unusable. Pure; no socket, no clock.

export const NTP_PORT = 123
const LENGTH = 48
const MODE_CLIENT = 3
const MODE_SERVER = 4
const VERSION = 4
/** Seconds from NTP's first era, 1900, to 1970. */
const UNIX_EPOCH = 2_208_988_800n
/** RFC 5905's MAXDIST is 1 s; ntpd takes 1.5 s so that a server behind a slow line still counts. */
const MAX_ROOT_DISTANCE_SECONDS = 1.5

/** What an NTP packet says. Timestamps are the wire's 64 bits: seconds of an era and fractions of 2^-32 s. */
export interface NtpPacket {
  /** 0 none, 1 and 2 a leap second today, 3 not synchronised. */
  readonly leap: number
  readonly mode: number
  readonly stratum: number
  readonly rootDelaySeconds: number
  readonly rootDispersionSeconds: number
  /** The four bytes of the reference, as they came. */
  readonly referenceId: number
  readonly origin: bigint
  readonly receive: bigint
  readonly transmit: bigint
}

/** Why an answer is of no use. */
export interface Refusal {
  readonly kind: 'kiss' | 'refused'
  /** The kiss-o'-death's code, such as `RATE`. */
  readonly code?: string
  /** Something that does not belong to our question proves nothing about the server: it is not the end of the wait. */
  readonly stray?: true
  readonly message: string
}

/**
 * A question.
 * @param cookie 64 random bits in place of our time: the server sends them back, and nobody learns our clock from them
 */
export function encodeQuestion(cookie: bigint): Buffer {
  const packet = Buffer.alloc(LENGTH)
  packet.writeUInt8((VERSION << 3) | MODE_CLIENT, 0)
  packet.writeBigUInt64BE(cookie, 40)
  return packet
}

/** What a packet says; undefined when it is too short to be one. Extension fields and MACs behind it are not looked at. */
export function decodePacket(data: Buffer): NtpPacket | undefined {
  if (data.length < LENGTH) return undefined
  return {
    leap: data.readUInt8(0) >> 6,
    mode: data.readUInt8(0) & 7,
    stratum: data.readUInt8(1),
    rootDelaySeconds: data.readUInt32BE(4) / 65_536,
    rootDispersionSeconds: data.readUInt32BE(8) / 65_536,
    referenceId: data.readUInt32BE(12),
    origin: data.readBigUInt64BE(24),
    receive: data.readBigUInt64BE(32),
    transmit: data.readBigUInt64BE(40),
  }
}

/** Why the answer to the question with this cookie can't be used; undefined when it can. */
export function refusal(data: Buffer, cookie: bigint): Refusal | undefined {
  const packet = decodePacket(data)
  if (!packet)
    return {
      kind: 'refused',
      stray: true,
      message: `it sent ${data.length} bytes, which is no NTP packet (48 or more)`,
    }
  // First, and also before a kiss-o'-death is believed: anybody can send those.
  if (packet.origin !== cookie)
    return {
      kind: 'refused',
      stray: true,
      message: 'it answered another question than ours (the origin timestamp differs)',
    }
  const refused = (message: string): Refusal => ({ kind: 'refused', message })
  if (packet.mode !== MODE_SERVER) return refused(`its answer has mode ${packet.mode}, not 4 (server)`)
  if (packet.stratum === 0) return kiss(packet.referenceId)
  if (packet.leap === 3) return refused('it says that it is not synchronised itself (leap alarm)')
  if (packet.stratum >= 16) return refused(`it says that it is not synchronised itself (stratum ${packet.stratum})`)
  if (packet.transmit === 0n || packet.receive === 0n) return refused('its answer holds no time (a timestamp is zero)')
  const distance = packet.rootDelaySeconds / 2 + packet.rootDispersionSeconds
  if (distance > MAX_ROOT_DISTANCE_SECONDS)
    return refused(
      `it may be wrong by ${distance.toFixed(1)} s by its own account (root distance), and the most is ${MAX_ROOT_DISTANCE_SECONDS} s`,
    )
  return undefined
}

function kiss(referenceId: number): Refusal {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(referenceId)
  const code = bytes.toString('latin1').replaceAll(/[^A-Z0-9]/g, '')
  if (code === '') return { kind: 'refused', message: 'its answer has stratum 0 and no reason for it' }
  return { kind: 'kiss', code, message: `it sent the kiss-o'-death ${code}` }
}

/** A wall clock's milliseconds since 1970 as a timestamp. After 2036 the seconds begin anew, as NTP's do. */
export function toTimestamp(unixMs: number): bigint {
  const whole = Math.floor(unixMs / 1000)
  const fraction = BigInt(Math.round((unixMs / 1000 - whole) * 2 ** 32))
  return BigInt.asUintN(64, ((BigInt(whole) + UNIX_EPOCH) << 32n) + fraction)
}

/** `a - b` in seconds: right across the ends of eras, as long as the two are less than 68 years apart (RFC 5905, section 6). */
export function secondsBetween(a: bigint, b: bigint): number {
  return Number(BigInt.asIntN(64, a - b)) / 2 ** 32
}

/** How the asker's clock stands to the server's. */
export interface Sample {
  /** Our clock minus the server's, in seconds. */
  readonly offsetSeconds: number
  /** Time on the way, there and back, in seconds. */
  readonly delaySeconds: number
}

/**
 * One sample.
 * @param sentMs our wall clock when the question went out
 * @param tookSeconds from question to answer by the monotonic clock: a wall clock that is set meanwhile falsifies nothing
 * @returns undefined when the server claims to have held the question for longer than we waited, or to have answered before it came
 */
export function sampleOf({ receive, transmit }: NtpPacket, sentMs: number, tookSeconds: number): Sample | undefined {
  const held = secondsBetween(transmit, receive)
  const delaySeconds = tookSeconds - held
  // Clocks tick in steps: a little below nothing is nothing.
  if (held < 0 || delaySeconds < -0.001) return undefined
  const sent = toTimestamp(sentMs)
  const serverAhead = (secondsBetween(receive, sent) + secondsBetween(transmit, sent) - tookSeconds) / 2
  return { offsetSeconds: -serverAhead, delaySeconds: Math.max(0, delaySeconds) }
}

/** How far a server's time may be from true, in seconds: its own account of it and half of the way to it (root distance). */
export function rootDistance(packet: NtpPacket, delaySeconds: number): number {
  return (packet.rootDelaySeconds + delaySeconds) / 2 + packet.rootDispersionSeconds
}
