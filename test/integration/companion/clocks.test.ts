// The companion among real clocks: chronyd as NTP servers, Redis as broker, some of them with a clock that is off. No clock of this machine
// is touched.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { connectBroker, presenceKey, type BrokerConnection } from '../../../src/runtime/broker/index.ts'
import { startChronyd, freeUdpPort, type Chronyd, type ChronydOptions } from '../../fixtures/chronyd.ts'
import { ClockShift } from '../../fixtures/clock-shift.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { startRedis, startRedisWith, type RedisServer } from '../../fixtures/redis-server.ts'
import { startCompanion, type Companion } from './support/companion.ts'

const QUEUE = { namespace: 'demo', name: 'clocks' }
const LIE = 30

let folder: string
let redis: RedisServer
let broker: BrokerConnection
let honest: Chronyd[]
let liar: Chronyd
const started: { close(): Promise<void> }[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'taskqueue-clocks-'))
  redis = await startRedis()
  broker = await connectBroker(redis.url)
  honest = [await startChronyd({ localStratum: 3 }), await startChronyd({ localStratum: 4 })]
  liar = await startChronyd({ localStratum: 2, env: (await shiftBy(LIE)).env })
})
afterEach(async () => {
  for (const each of started.splice(0)) await each.close()
  await redis.client.flushall()
})
afterAll(async () => {
  await broker.close()
  for (const each of [...honest, liar, redis]) await each.close()
  await rm(folder, { recursive: true, force: true })
})

let shifts = 0
async function shiftBy(seconds: number): Promise<ClockShift> {
  return ClockShift.in(join(folder, `shift-${shifts++}`), seconds)
}

const names = (...servers: Chronyd[]): string => servers.map(({ port }) => `127.0.0.1:${port}`).join(',')

async function companion(env: Readonly<Record<string, string>>): Promise<Companion> {
  const one = await startCompanion({
    TASKQUEUE_BROKER_URL: redis.url,
    TASKQUEUE_NAMESPACE: QUEUE.namespace,
    TASKQUEUE_NAME: QUEUE.name,
    TASKQUEUE_POD_UID: 'uid-1',
    ...env,
  })
  started.push(one)
  return one
}

async function chronyd(options: ChronydOptions): Promise<Chronyd> {
  const one = await startChronyd(options)
  started.push(one)
  return one
}

/** What the entry of pod `uid-1` says. */
async function presence(): Promise<{ offsetSeconds: number | null; detail: Record<string, unknown> }> {
  const entries = await broker.readPresence(presenceKey(QUEUE))
  const entry = entries.find(({ id }) => id === 'uid-1/companion')
  return { offsetSeconds: entry?.offsetSeconds ?? null, detail: entry?.detail ?? {} }
}

const near = (seconds: number): number => {
  const within: unknown = expect.toSatisfy((value: number | null) => value !== null && Math.abs(value - seconds) < 0.2)
  return within as number
}

describe('a machine whose clock is off', () => {
  it.each([37.3, -3600])('by %s s is measured against NTP and the broker', async (seconds) => {
    const { env } = await shiftBy(seconds)
    const one = await companion({ ...env, TASKQUEUE_COMPANION_SERVERS: names(...honest) })
    await eventually(async () => {
      const clock = await one.clock()
      expect(clock.host).toMatchObject({ offsetSeconds: near(seconds) })
      expect(clock.broker?.offsetSeconds).toEqual(near(seconds))
      expect(clock.brokerAgainstNtp?.offsetSeconds).toEqual(near(0))
      expect(clock.host?.servers.map(({ state }) => state)).toEqual(['truechimer', 'truechimer'])
      // An error that says nothing would be useless; one below the truth a lie.
      expect(clock.host?.errorSeconds).toBeLessThan(0.2)
    })
    await eventually(async () => {
      const { offsetSeconds, detail } = await presence()
      expect(offsetSeconds).toEqual(near(seconds))
      expect(detail['ntp']).toMatchObject({ offsetSeconds: near(seconds), stratum: expect.any(Number) as number })
      expect(detail).not.toHaveProperty('ntpTrouble')
      expect(detail).not.toHaveProperty('clockSource')
    })
    const metrics = await one.metrics()
    for (const against of ['broker', 'ntp']) {
      expect(metrics).toContain(`taskqueue_clock_known{against="${against}"} 1`)
      const offset = new RegExp(`taskqueue_clock_offset_seconds{against="${against}"} (\\S+)`).exec(metrics)?.[1]
      expect(Number(offset)).toEqual(near(seconds))
      expect(metrics).toContain(`taskqueue_clock_round_trip_seconds{against="${against}"} `)
      expect(metrics).toContain(`taskqueue_clock_measurement_age_seconds{against="${against}"} `)
    }
    expect(metrics).toMatch(/^taskqueue_clock_source_info\{source="127\.0\.0\.1:\d+",stratum="[34]"\} 1$/m)
    expect(metrics).toMatch(/^taskqueue_clock_stratum [34]$/m)
  })

  it.each([90, -90])('is noticed within 5 s of a step of %s s, and told in the presence hash', async (seconds) => {
    const clock = await shiftBy(0)
    const one = await companion({ ...clock.env, TASKQUEUE_COMPANION_SERVERS: names(...honest) })
    await eventually(async () => expect((await presence()).detail['ntp']).toMatchObject({ offsetSeconds: near(0) }))
    clock.set(seconds)
    await eventually(async () => {
      const { offsetSeconds, detail } = await presence()
      expect(offsetSeconds).toEqual(near(seconds))
      expect(detail['ntp']).toMatchObject({ offsetSeconds: near(seconds) })
      const { steps } = await one.clock()
      expect(steps).toMatchObject({ count: 1, lastSeconds: near(seconds) })
      expect(steps.lastAgeSeconds).toBeLessThan(5)
    }, 5_000)
    expect(await one.metrics()).toContain('taskqueue_clock_steps_total 1')
    expect(one.output()).toContain(`clock was set ${seconds > 0 ? 'forwards' : 'backwards'} by 90.0 s`)
  })
})

describe('a broker whose clock is 90 s ahead', () => {
  it('is told as its own: the machine agrees with NTP and the broker does not', async () => {
    const wrong = await startRedisWith((await shiftBy(90)).env)
    started.push(wrong)
    const one = await companion({ TASKQUEUE_BROKER_URL: wrong.url, TASKQUEUE_COMPANION_SERVERS: names(...honest) })
    await eventually(async () => {
      expect(await one.clock()).toMatchObject({
        host: { offsetSeconds: near(0) },
        broker: { offsetSeconds: near(-90) },
        brokerAgainstNtp: { offsetSeconds: near(90) },
      })
    })
  })
})

describe('a server that lies', () => {
  it('is outvoted by two, and named', async () => {
    const one = await companion({ TASKQUEUE_COMPANION_SERVERS: names(liar, ...honest) })
    await eventually(async () => {
      const { host } = await one.clock()
      expect(host).toMatchObject({ offsetSeconds: near(0) })
      expect(host?.servers).toMatchObject([
        {
          name: names(liar),
          state: 'falseticker',
          offsetSeconds: near(-LIE),
          trouble: expect.stringContaining('wrong') as string,
        },
        { state: 'truechimer' },
        { state: 'truechimer' },
      ])
    })
    expect(one.output()).toContain(`NTP server ${names(liar)}: the other servers agree that its time is wrong`)
  })

  it('makes one other unbelievable too: two that disagree prove nothing', async () => {
    const [other] = honest as [Chronyd]
    const one = await companion({ TASKQUEUE_COMPANION_SERVERS: names(liar, other) })
    const disagree = expect.stringMatching(/disagree, and nothing tells which is wrong/) as string
    await eventually(async () => {
      expect(await one.clock()).toMatchObject({
        host: { offsetSeconds: null, servers: [{ state: 'unknown' }, { state: 'unknown' }] },
        broker: { offsetSeconds: near(0) },
        brokerAgainstNtp: null,
        ntpTrouble: disagree,
      })
      expect((await presence()).detail).toMatchObject({ ntp: null, ntpTrouble: disagree })
    })
    expect(one.output()).toMatch(/clock is not known: .*disagree/)
    expect(await one.metrics()).toContain('taskqueue_clock_known{against="ntp"} 0')
  })
})

describe("beat's machine", () => {
  it('is told against each other one by way of the broker', async () => {
    const { env } = await shiftBy(20)
    await companion({ ...env, TASKQUEUE_COMPANION_COMPONENT: 'beat', TASKQUEUE_POD_UID: 'uid-beat' })
    const key = `${presenceKey(QUEUE)}:beat-clock`
    await eventually(async () => expect(await redis.client.pttl(key)).toBeGreaterThan(50_000))
    const one = await companion({})
    await eventually(async () => {
      expect(await one.clock()).toMatchObject({ host: null, beat: { offsetSeconds: near(20) } })
    })
    // In the metrics it is this machine against the other, as for the other two.
    const offset = /taskqueue_clock_offset_seconds\{against="beat"\} (\S+)/.exec(await one.metrics())?.[1]
    expect(Number(offset)).toEqual(near(-20))
    expect((await presence()).detail).not.toHaveProperty('ntp')
  })

  it.each(['no JSON', '{}', '{"offsetSeconds":"x","errorSeconds":1}', '[]'])(
    'is unknown while %s is said',
    async (said) => {
      await redis.client.set(`${presenceKey(QUEUE)}:beat-clock`, said, 'PX', 60_000)
      const one = await companion({})
      await eventually(async () =>
        expect(await one.clock()).toMatchObject({ broker: { offsetSeconds: near(0) }, beat: null }),
      )
    },
  )
})

describe('Discipline', () => {
  it("tells what the node's chronyd says of its clock", async () => {
    const node = await chronyd({ follows: [liar.port] })
    const one = await companion({
      TASKQUEUE_COMPANION_CLOCK: 'Discipline',
      TASKQUEUE_COMPANION_NODE_IP: `127.0.0.1:${node.commandPort}`,
    })
    await eventually(async () => {
      const clock = await one.clock()
      expect(clock).not.toHaveProperty('disciplineTrouble')
      // This chronyd corrects nothing (-x), so it goes on to say that the clock is behind its source.
      expect(clock.discipline).toMatchObject({
        refId: '7F000001',
        stratum: 3,
        leap: 'none',
        systemOffsetSeconds: near(-LIE),
      })
      expect((await presence()).detail).toMatchObject({ clockSource: 'chronyd' })
    }, 50_000)
    expect(await one.metrics()).toMatch(/^taskqueue_clock_discipline_offset_seconds -(30|29)/m)
  })

  it.each<[string, () => Promise<string>, RegExp]>([
    ['no address', () => Promise.resolve(''), /address of the node is not known \(TASKQUEUE_COMPANION_NODE_IP\)/],
    ['a bad address', () => Promise.resolve('a b'), /address of the node is not known/],
    [
      'nobody there',
      async () => `127.0.0.1:${await freeUdpPort()}`,
      /chronyd on the node does not answer at 127\.0\.0\.1 port \d+ within 2 s/,
    ],
    [
      'a chronyd without a source',
      async () => `127.0.0.1:${(await chronyd({})).commandPort}`,
      /chronyd on the node is not synchronised to any source/,
    ],
    [
      'a chronyd that follows its own clock',
      () => Promise.resolve(`127.0.0.1:${honest[0]?.commandPort ?? 0}`),
      /chronyd on the node follows no source but its own clock/,
    ],
  ])('monitors on and says why with %s', async (_, address, trouble) => {
    const one = await companion({
      TASKQUEUE_COMPANION_CLOCK: 'Discipline',
      TASKQUEUE_COMPANION_NODE_IP: await address(),
    })
    const said = expect.stringMatching(trouble) as string
    await eventually(async () => {
      const clock = await one.clock()
      expect(clock).toMatchObject({ mode: 'Discipline', broker: { offsetSeconds: near(0) }, disciplineTrouble: said })
      expect(clock).not.toHaveProperty('discipline')
      const { detail } = await presence()
      expect(detail['disciplineTrouble']).toEqual(said)
      expect(detail).not.toHaveProperty('clockSource')
    })
    expect(one.output()).toMatch(/Clocks are monitored only/)
    expect(one.process.exitCode).toBeNull()
  })
})

describe('a server that is off by less than a second', () => {
  it.each([0.4, -0.4])('is measured at %s s', async (seconds) => {
    const server = await chronyd({ localStratum: 2, env: (await shiftBy(seconds)).env })
    const one = await companion({ TASKQUEUE_COMPANION_SERVERS: names(server) })
    await eventually(async () => expect((await one.clock()).host?.offsetSeconds).toBeCloseTo(-seconds, 1))
  })
})
