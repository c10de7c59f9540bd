// Servers that answer wrongly, late or not at all: each is told of in its own words, and the companion lives on.

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { createServer, type AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { NtpClock } from '../../../src/companion/clock/ntpclock.ts'
import { connectBroker, presenceKey } from '../../../src/runtime/broker/index.ts'
import { freeUdpPort } from '../../fixtures/chronyd.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { answerTo, startLyingServer, type Lies, type LyingServer } from '../../fixtures/lying-ntp.ts'
import { startRedis } from '../../fixtures/redis-server.ts'
import { launchCompanion, startCompanion, type Companion } from './support/companion.ts'

type Answering = (question: Buffer, from: RemoteInfo, socket: Socket) => void

const lie =
  (lies: Lies): Answering =>
  (question, { port, address }, socket) =>
    socket.send(answerTo(question, lies), port, address)
const bytes =
  (data: Buffer): Answering =>
  (_, { port, address }, socket) =>
    socket.send(data, port, address)
const late: Answering = (question, { port, address }, socket) => {
  const timer = setTimeout(() => socket.send(answerTo(question), port, address), 2_300)
  socket.once('close', () => clearTimeout(timer))
}
const elsewhere: Answering = (question, { port, address }) => {
  const other = createSocket('udp4')
  other.send(answerTo(question), port, address, () => other.close())
}

const liars: readonly (readonly [what: string, answering: Answering, told: RegExp])[] = [
  [
    'garbage',
    bytes(Buffer.from('hello')),
    /within 2 s; what came was refused: it sent 5 bytes, which is no NTP packet/,
  ],
  ['nothing in a datagram', bytes(Buffer.alloc(0)), /it sent 0 bytes/],
  ['much garbage', bytes(Buffer.alloc(1400, 0xff)), /answered another question than ours/],
  ['another transaction', lie({ origin: 1n }), /what came was refused: it answered another question than ours/],
  ["another's answer", elsewhere, /what came was refused: an answer came from another address than was asked/],
  ['mode 3', lie({ mode: 3 }), /mode 3, not 4/],
  ['leap alarm', lie({ leap: 3 }), /not synchronised itself \(leap alarm\)/],
  ['stratum 16', lie({ stratum: 16 }), /not synchronised itself \(stratum 16\)/],
  ['stratum 0', lie({ stratum: 0 }), /stratum 0 and no reason for it/],
  ['no time', lie({ transmit: 0n }), /holds no time/],
  ['impossible times', lie({ receive: 1n }), /claims times that can not be/],
  ['a far root', lie({ rootDispersion: 20 }), /wrong by 20\.0 s by its own account \(root distance\)/],
  [
    'DENY',
    lie({ stratum: 0, leap: 3, code: 'DENY' }),
    /kiss-o'-death DENY: it is not asked again until this pod starts anew/,
  ],
  ['RSTR', lie({ stratum: 0, code: 'RSTR' }), /kiss-o'-death RSTR: it is not asked again/],
  ['RATE', lie({ stratum: 0, code: 'RATE' }), /kiss-o'-death RATE: it is asked every 128 s only/],
  ['another kiss', lie({ stratum: 0, code: 'STEP' }), /kiss-o'-death STEP$/],
  ['silence', () => undefined, /no answer from 127\.0\.0\.1 port \d+ within 2 s$/],
  ['a late answer', late, /no answer from 127\.0\.0\.1 port \d+ within 2 s/],
]

const open: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const each of open.splice(0)) await each.close()
})

async function lying(answering: Answering): Promise<LyingServer> {
  const server = await startLyingServer(answering)
  open.push(server)
  return server
}

describe('a companion among liars', () => {
  let companion: Companion
  const servers: LyingServer[] = []
  const unusable = ['no-such-name.invalid', '127.255.255.255:123']

  beforeAll(async () => {
    for (const [, answering] of liars) servers.push(await startLyingServer(answering))
    const names = servers.map(({ port }) => `127.0.0.1:${port}`)
    companion = await startCompanion({ TASKQUEUE_COMPANION_SERVERS: ['x:y', ...names, ...unusable].join(',') })
  })
  afterAll(async () => {
    await companion.close()
    for (const server of servers) await server.close()
  })

  const troubleOf = async (name: string): Promise<string | undefined> =>
    (await companion.clock()).host?.servers.find((server) => server.name === name)?.trouble

  it.each(liars.map(([what, , told], i) => ({ what, told, i })))('tells of $what', async ({ told, i }) => {
    const name = `127.0.0.1:${servers[i]?.port ?? 0}`
    await eventually(async () => expect(await troubleOf(name)).toMatch(told))
    await eventually(() => expect(companion.output()).toContain(`NTP server ${name}: `))
    expect(companion.process.exitCode).toBeNull()
  })

  it.each([
    ['a name that does not resolve', 'no-such-name.invalid', /its name does not resolve/],
    ['a socket that the system refuses', '127.255.255.255:123', /nothing can be sent to it \(EACCES\)/],
  ])('tells of %s', async (_, name, told) => {
    await eventually(async () => expect(await troubleOf(name)).toMatch(told))
    expect(companion.process.exitCode).toBeNull()
  })

  it('tells of an entry that is none, and knows nothing, not 0', async () => {
    await eventually(() => expect(companion.output()).toContain('TASKQUEUE_COMPANION_SERVERS names \\"x:y\\"'))
    await eventually(async () => expect((await companion.clock()).ntpTrouble).toMatch(/no NTP packet/))
    expect((await companion.clock()).host).toMatchObject({ offsetSeconds: null, source: null, stratum: null })
    expect(await companion.metrics()).not.toMatch(/taskqueue_clock_offset_seconds\{/)
  })

  it('tells each trouble once, not at every look', async () => {
    const silent = liars.findIndex(([what]) => what === 'silence')
    await eventually(() => expect(servers[silent]?.questions.length).toBeGreaterThanOrEqual(3), 25_000)
    const lines = companion.output().split(`127.0.0.1:${servers[silent]?.port ?? 0}: `).length - 1
    expect(lines).toBe(1)
  })

  it('sends nothing of its own time, and another cookie each time', () => {
    const questions = servers.flatMap((server) => server.questions.map((question) => question.toString('hex')))
    expect(new Set(questions).size).toBe(questions.length)
    for (const question of questions) expect(question).toMatch(/^23(00){39}[0-9a-f]{16}$/)
  })
})

describe('a port that is taken', () => {
  it('costs the companion its answers and not its measuring', async () => {
    const redis = await startRedis()
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, resolve))
    const companion = await launchCompanion({
      TASKQUEUE_COMPANION_PORT: String((other.address() as AddressInfo).port),
      TASKQUEUE_BROKER_URL: redis.url,
      TASKQUEUE_COMPANION_SERVERS: `127.0.0.1:${(await lying(lie({}))).port}`,
    })
    const broker = await connectBroker(redis.url)
    try {
      await eventually(() => expect(companion.output()).toMatch(/Port \d+ can not be listened on.*EADDRINUSE/))
      await eventually(async () => {
        const [entry] = await broker.readPresence(presenceKey({}))
        expect(entry?.detail?.['ntp']).toMatchObject({ stratum: 2 })
      })
      expect(companion.process.exitCode).toBeNull()
    } finally {
      await companion.close()
      await broker.close()
      await redis.close()
      await new Promise((resolve) => other.close(resolve))
    }
  })
})

describe('how often a server is asked', () => {
  const stop = new AbortController()
  afterAll(() => stop.abort())

  /** A clock that asks every tenth of a second, without jitter. */
  function follow(...servers: { port: number }[]): NtpClock {
    const addresses = servers.map(({ port }) => ({ name: `s${port}`, host: '127.0.0.1', port }))
    const options = { samples: 1, intervalMs: 100, timeoutMs: 500, random: () => 0.5 }
    const clock = new NtpClock(
      addresses,
      () => undefined,
      () => undefined,
      options,
    )
    void clock.run(stop.signal)
    return clock
  }

  it.each(['DENY', 'RSTR'])('after %s: never', async (code) => {
    const [refusing, other] = [await lying(lie({ stratum: 0, code })), await lying(lie({}))]
    const clock = follow(refusing, other)
    await eventually(() => expect(other.questions.length).toBeGreaterThanOrEqual(3))
    clock.measureAgain()
    await eventually(() => expect(other.questions.length).toBeGreaterThanOrEqual(8))
    expect(refusing.questions).toHaveLength(1)
    expect(clock.measurement?.source).toBe(`s${other.port}`)
  })

  it('after RATE: half as often each time, and not at once after a step either', async () => {
    const [rating, other] = [await lying(lie({ stratum: 0, code: 'RATE' })), await lying(lie({}))]
    const clock = follow(rating, other)
    await eventually(() => expect(rating.questions.length).toBeGreaterThanOrEqual(3))
    // 200 and 400 ms have passed for it.
    expect(other.questions.length).toBeGreaterThanOrEqual(4)
    const asked = rating.questions.length
    clock.measureAgain()
    const before = other.questions.length
    await eventually(() => expect(other.questions.length).toBeGreaterThan(before))
    expect(rating.questions).toHaveLength(asked)
    expect(clock.servers[0]?.trouble).toMatch(/it is asked every 0\.\d s only/)
  })

  it('by several samples, of which the one with the least delay counts', async () => {
    let asked = 0
    const server = await lying((question, { port, address }, socket) => {
      // The first answer is held up on its way, which makes the server look behind.
      const wait = asked++ === 0 ? 300 : 0
      void delay(wait).then(() => socket.send(answerTo(question), port, address))
    })
    const address = { name: 'slow', host: '127.0.0.1', port: server.port }
    const clock = new NtpClock(
      [address],
      () => undefined,
      () => undefined,
      { samples: 4, spacingMs: 10 },
    )
    void clock.run(stop.signal)
    await eventually(() => expect(server.questions).toHaveLength(4))
    await eventually(() => expect(clock.measurement?.delaySeconds).toBeLessThan(0.2))
  })

  it('soon again after a failure, and it is told when it is over', async () => {
    const port = await freeUdpPort()
    const lines: string[] = []
    const address = { name: 'late', host: '127.0.0.1', port }
    const clock = new NtpClock(
      [address],
      (_, line) => lines.push(line),
      () => undefined,
      { timeoutMs: 100, intervalMs: 200 },
    )
    void clock.run(stop.signal)
    await eventually(() => expect(clock.trouble).toMatch(/no answer/))
    const socket = createSocket('udp4')
    await new Promise<void>((resolve) => socket.bind(port, '127.0.0.1', resolve))
    socket.on('message', (question, from) => socket.send(answerTo(question), from.port, from.address))
    await eventually(() => expect(clock.measurement).toBeDefined())
    await eventually(() => expect(lines).toHaveLength(2))
    expect(lines[1]).toBe('NTP server late is all right again.')
    await new Promise<void>((resolve) => socket.close(resolve))
  })
})
