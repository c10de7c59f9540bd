// Asks a chronyd how it follows its sources: `tracking` of chrony's command protocol, version 6 (chrony's candm.h). It asks and never
// commands. Encoding and decoding are pure.

import { randomInt } from 'node:crypto'
import { DatagramSocket, resolveEndpoint } from './datagram.ts'

export const CHRONY_PORT = 323
const PROTOCOL = 6
const REQUEST = 1
const REPLY = 2
const REQ_TRACKING = 33
const RPY_TRACKING = 5
/** A reply's head, and the tracking report up to its last figure. */
const HEAD = 28
const LENGTH = HEAD + 76
const STATUS_SUCCESS = 0
const LEAPS = ['none', 'insert', 'delete', 'unsynchronised'] as const
/** 127.127.1.1: chronyd follows nobody and serves its own clock (`local`). */
const LOCAL_REFERENCE = 0x7f7f0101

export interface Tracking {
  /** Whom chronyd follows: a v4 address, or a hash of a v6 one, as eight hexadecimal digits. */
  readonly refId: string
  readonly stratum: number
  /** Of a leap second today; `unsynchronised` while chronyd follows nobody. */
  readonly leap: (typeof LEAPS)[number]
  /** The machine's clock minus chronyd's best knowledge of the time, in seconds. */
  readonly systemOffsetSeconds: number
  /** Long-term average of the offsets that chronyd measured, in seconds. */
  readonly rmsOffsetSeconds: number
}

/** As long as the answer: chronyd ignores shorter questions, so that nobody can use it to amplify traffic. */
export function encodeTrackingRequest(sequence: number): Buffer {
  const request = Buffer.alloc(LENGTH)
  request.writeUInt8(PROTOCOL, 0)
  request.writeUInt8(REQUEST, 1)
  request.writeUInt16BE(REQ_TRACKING, 4)
  request.writeUInt32BE(sequence, 8)
  return request
}

/**
 * The report in an answer.
 * @returns undefined when it is no answer to the question with this sequence number; a sentence when chronyd refuses
 */
export function decodeTracking(data: Buffer, sequence: number): Tracking | string | undefined {
  if (data.length < HEAD || data.readUInt8(1) !== REPLY || data.readUInt32BE(16) !== sequence) return undefined
  if (data.readUInt8(0) !== PROTOCOL)
    return `speaks version ${data.readUInt8(0)} of chrony's command protocol, not ${PROTOCOL} (chrony 2.2 and later)`
  const status = data.readUInt16BE(8)
  if (status !== STATUS_SUCCESS)
    return `refuses to tell its tracking (status ${status}): set cmdallow for this pod's address`
  if (data.readUInt16BE(6) !== RPY_TRACKING || data.length < LENGTH) return 'answers something else than its tracking'
  return {
    refId: data.readUInt32BE(HEAD).toString(16).toUpperCase().padStart(8, '0'),
    stratum: data.readUInt16BE(HEAD + 24),
    leap: LEAPS[data.readUInt16BE(HEAD + 26)] ?? 'unsynchronised',
    // On the wire it is what must be added to the clock.
    systemOffsetSeconds: 0 - readFloat(data, HEAD + 40),
    rmsOffsetSeconds: readFloat(data, HEAD + 48),
  }
}

/** chrony's float: seven bits of exponent and 25 of coefficient, both signed. */
function readFloat(data: Buffer, at: number): number {
  const bits = data.readInt32BE(at)
  const coefficient = (bits << 7) >> 7
  return coefficient * 2 ** ((bits >> 25) - 25)
}

/** Why a chronyd's report says nothing about the clock; undefined when it does. */
export function trackingTrouble({ leap, refId }: Tracking): string | undefined {
  if (leap === 'unsynchronised') return 'is not synchronised to any source'
  if (refId === LOCAL_REFERENCE.toString(16).toUpperCase()) return 'follows no source but its own clock (local)'
  return undefined
}

/**
 * Asks once.
 * @throws Error that continues "chronyd on the node ..."
 */
export async function askTracking(host: string, port: number, withinMs = 2_000): Promise<Tracking> {
  const endpoint = await resolveEndpoint(host, port, withinMs)
  const socket = new DatagramSocket(endpoint)
  try {
    const sequence = randomInt(2 ** 32)
    const answer = await socket.exchange(
      encodeTrackingRequest(sequence),
      withinMs,
      () => undefined,
      (arrival) => {
        if ('error' in arrival) return arrival.error
        return socket.isFrom(arrival.from) ? decodeTracking(arrival.data, sequence) : undefined
      },
    )
    if (answer === undefined) throw new Error(`does not answer at ${host} port ${port} within ${withinMs / 1000} s`)
    if (typeof answer === 'string') throw new Error(answer)
    return answer
  } finally {
    socket.close()
  }
}
