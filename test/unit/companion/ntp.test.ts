import { describe, expect, it } from 'vitest'
import {
  decodePacket,
  encodeQuestion,
  refusal,
  rootDistance,
  sampleOf,
  secondsBetween,
  toTimestamp,
  type NtpPacket,
} from '../../../src/companion/clock/ntppacket.ts'
import { select } from '../../../src/companion/clock/ntpselection.ts'
import { readServers } from '../../../src/companion/clock/serverlist.ts'
import { answerTo, type Lies } from '../../fixtures/lying-ntp.ts'

const COOKIE = 0x1234_5678_9abc_def0n
const question = encodeQuestion(COOKIE)

describe('a question', () => {
  it('holds a version, a mode and a cookie, and nothing of our clock', () => {
    expect(question.toString('hex')).toBe(`23${'00'.repeat(39)}123456789abcdef0`)
  })
})

describe('an answer', () => {
  it('that is right is taken', () => {
    expect(refusal(answerTo(question), COOKIE)).toBeUndefined()
    // Extension fields and MACs follow the 48 bytes.
    expect(refusal(Buffer.concat([answerTo(question), Buffer.alloc(20)]), COOKIE)).toBeUndefined()
  })

  it.each<[string, Lies | Buffer, RegExp, { stray?: true; code?: string }]>([
    ['is empty', Buffer.alloc(0), /0 bytes, which is no NTP packet/, { stray: true }],
    ['is too short', Buffer.alloc(47, 0x24), /47 bytes/, { stray: true }],
    ['answers another question', { origin: COOKIE + 1n }, /another question than ours/, { stray: true }],
    ['answers another question with a kiss', { origin: 1n, stratum: 0, code: 'DENY' }, /another/, { stray: true }],
    ['is a client', { mode: 3 }, /mode 3, not 4/, {}],
    ['is a broadcast', { mode: 5 }, /mode 5, not 4/, {}],
    ['has leap alarm', { leap: 3 }, /not synchronised itself \(leap alarm\)/, {}],
    ['has stratum 16', { stratum: 16 }, /not synchronised itself \(stratum 16\)/, {}],
    ['has stratum 255', { stratum: 255 }, /stratum 255/, {}],
    ['has stratum 0 and no reason', { stratum: 0 }, /stratum 0 and no reason/, {}],
    ['is a kiss', { stratum: 0, code: 'RATE', leap: 3 }, /kiss-o'-death RATE/, { code: 'RATE' }],
    ['is a kiss of bytes', { stratum: 0, code: 'X\n{"' }, /kiss-o'-death X$/, { code: 'X' }],
    ['has no transmit time', { transmit: 0n }, /a timestamp is zero/, {}],
    ['has no receive time', { receive: 0n }, /a timestamp is zero/, {}],
    ['is far from the root', { rootDispersion: 9 }, /wrong by 9\.0 s by its own account \(root distance\)/, {}],
  ])('that %s is refused', (_, lies, message, more) => {
    const data = Buffer.isBuffer(lies) ? lies : answerTo(question, lies)
    expect(refusal(data, COOKIE)).toMatchObject({ message: expect.stringMatching(message) as string, ...more })
  })
})

describe('time', () => {
  const ROLLOVER_MS = Date.UTC(2036, 1, 7, 6, 28, 16)

  it('begins anew in 2036, and differences go across', () => {
    expect(toTimestamp(ROLLOVER_MS)).toBe(0n)
    expect(toTimestamp(0)).toBe(2_208_988_800n << 32n)
    expect(secondsBetween(toTimestamp(ROLLOVER_MS + 1500), toTimestamp(ROLLOVER_MS - 500))).toBeCloseTo(2, 6)
    expect(secondsBetween(toTimestamp(ROLLOVER_MS - 500), toTimestamp(ROLLOVER_MS + 1500))).toBeCloseTo(-2, 6)
  })

  const packet = (receiveMs: number, transmitMs: number): NtpPacket => {
    const times = { receive: toTimestamp(receiveMs), transmit: toTimestamp(transmitMs) }
    return decodePacket(answerTo(question, times)) ?? expect.fail('no packet')
  }

  it.each([
    ['we are ahead', 1e12, 1e12 + 90_000, 90],
    ['we are behind', 1e12, 1e12 - 90_000, -90],
    ['only the server is in the next era', ROLLOVER_MS + 20, ROLLOVER_MS - 1000, -1.02],
    ['only we are in the next era', ROLLOVER_MS - 1000, ROLLOVER_MS + 20, 1.02],
  ])("gives our clock minus the server's when %s", (_, server, sentMs, offset) => {
    // 10 ms there, 5 ms held, 10 ms back.
    const sample = sampleOf(packet(server + 10, server + 15), sentMs, 0.025)
    expect(sample?.offsetSeconds).toBeCloseTo(offset, 4)
    expect(sample?.delaySeconds).toBeCloseTo(0.02, 6)
  })

  it('is refused when the server claims to have held the question for longer than we waited, or to answer before it', () => {
    expect(sampleOf(packet(1e12, 1e12 + 500), 1e12, 0.1)).toBeUndefined()
    expect(sampleOf(packet(1e12 + 500, 1e12), 1e12, 0.1)).toBeUndefined()
  })

  it('is as far from true as the server says, and half of the way to it', () => {
    const away = { ...packet(1, 1), rootDelaySeconds: 0.02, rootDispersionSeconds: 0.003 }
    expect(rootDistance(away, 0.01)).toBeCloseTo(0.018, 9)
  })
})

describe('the selection', () => {
  const claim = (name: string, offsetSeconds: number, distanceSeconds = 0.01) => ({
    name,
    offsetSeconds,
    distanceSeconds,
  })

  it.each([
    ['one', [claim('a', 5)], 'a', []],
    ['two that agree', [claim('a', 0, 0.02), claim('b', 0.015)], 'b', []],
    ['one liar of three', [claim('a', 0, 0.02), claim('b', 30, 0.001), claim('c', 0.01)], 'c', ['b']],
    [
      'two liars of five',
      [claim('a', 0), claim('b', 30), claim('c', 0.001, 0.005), claim('d', -9), claim('e', 0)],
      'c',
      ['b', 'd'],
    ],
    ['a liar that claims to know nothing', [claim('a', 0), claim('b', 5, 1), claim('c', 0.01)], 'a', ['b']],
    ['a chain', [claim('a', 0), claim('b', 0.015, 0.009), claim('c', 0.03)], 'b', []],
  ])('of %s', (_, claims, chosen, falsetickers) => {
    const selection = select(claims)
    expect(selection.trouble).toBeUndefined()
    expect(selection.chosen?.name).toBe(chosen)
    expect(selection.falsetickers.map(({ name }) => name)).toEqual(falsetickers)
  })

  it.each([
    ['nobody', [], /no server has given a time/],
    ['two that disagree', [claim('a', 0), claim('b', 30)], /a, b disagree.*name three or more/],
    ['three that all disagree', [claim('a', 0), claim('b', 30), claim('c', -30)], /no majority of the servers a, b, c/],
    ['two against two', [claim('a', 0), claim('b', 30), claim('c', 0), claim('d', 30)], /no majority/],
  ])('knows nothing of %s', (_, claims, trouble) => {
    const selection = select(claims)
    expect(selection).toMatchObject({ chosen: undefined, truechimers: [], falsetickers: [] })
    expect(selection.trouble).toMatch(trouble)
  })
})

describe('the list of servers', () => {
  it.each([
    ['ntp.example', 'ntp.example', 123],
    ['ntp.example:1123', 'ntp.example', 1123],
    ['10.0.0.1:124', '10.0.0.1', 124],
    ['[fd00::1]:124', 'fd00::1', 124],
    ['[fd00::1]', 'fd00::1', 123],
    ['fd00::1', 'fd00::1', 123],
  ])('takes %s', (text, host, port) => {
    const problems: string[] = []
    expect(readServers('S', text, 123, problems)).toEqual([{ name: text, host, port }])
    expect(problems).toEqual([])
  })

  it.each(['a b', 'x:0', 'x:65536', 'x:y', '[x]:1', 'http://x', '-x', 'x:1:2', '[', '%zz', 'x'.repeat(300)])(
    'leaves out %s and says so',
    (text) => {
      const problems: string[] = []
      expect(readServers('S', `good,${text}, ,other`, 123, problems).map(({ name }) => name)).toEqual(['good', 'other'])
      expect(problems).toEqual([expect.stringContaining(`S names "${text}"`)])
    },
  )

  it('gives a server one voice', () => {
    const problems: string[] = []
    expect(readServers('S', 'a,a:123', 123, problems)).toHaveLength(1)
    expect(problems[0]).toContain('twice')
  })
})
