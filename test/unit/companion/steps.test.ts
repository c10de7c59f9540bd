import { describe, expect, it } from 'vitest'
import { decodeTracking, encodeTrackingRequest, trackingTrouble } from '../../../src/companion/clock/chronytracking.ts'
import { StepWatch } from '../../../src/companion/clock/stepwatch.ts'
import { Trouble } from '../../../src/companion/clock/trouble.ts'

/** A watch on clocks that a test moves; `held` is how long the process is held up between two readings. */
function watched() {
  const clock = { wallMs: 1_000_000, monotonicMs: 0, held: 0 }
  const steps: number[] = []
  const lines: string[] = []
  const watch = new StepWatch(
    (_, message) => lines.push(message),
    (seconds) => steps.push(seconds),
    { wall: () => ((clock.monotonicMs += clock.held), clock.wallMs), monotonic: () => clock.monotonicMs },
  )
  const second = (wallMs: number): void => {
    clock.wallMs += wallMs
    clock.monotonicMs += 1000
    watch.look()
  }
  watch.look()
  return { watch, clock, steps, lines, second }
}

describe('a step', () => {
  it.each([
    ['forwards', 91_000, 90],
    ['backwards', -89_000, -90],
    ['a little more than the limit', 1501, 0.501],
  ])('%s is counted with its size', (_, wallMs, seconds) => {
    const { watch, steps, lines, second } = watched()
    second(1000)
    second(wallMs)
    second(1000)
    expect(steps).toEqual([expect.closeTo(seconds, 6)])
    expect(watch.steps).toEqual({ count: 1, lastSeconds: expect.closeTo(seconds, 3) as number, lastAgeSeconds: 1 })
    expect(lines).toEqual([expect.stringMatching(seconds > 0 ? /forwards/ : /backwards/)])
  })

  it('is not what a daemon slews, however long it takes', () => {
    const { watch, second } = watched()
    for (let i = 0; i < 1000; i++) second(1100)
    expect(watch.steps).toEqual({ count: 0, lastSeconds: null, lastAgeSeconds: null })
  })

  it('is not seen in a process that was held up while it read its clocks, and not lost for it', () => {
    const { steps, clock, second } = watched()
    clock.held = 700
    second(1000)
    expect(steps).toEqual([])
    clock.held = 0
    second(91_700)
    expect(steps).toEqual([expect.closeTo(90, 6)])
  })
})

describe('a trouble', () => {
  it('is told when it begins, changes and ends, and not at every look', () => {
    const lines: string[] = []
    const trouble = new Trouble(
      (level, message) => lines.push(`${level} ${message}`),
      (message) => `x: ${message}`,
      'over',
    )
    for (const now of [undefined, 'a', 'a', 'b', undefined, undefined]) trouble.set(now)
    expect(lines).toEqual(['warn x: a', 'warn x: b', 'info over'])
  })
})

describe("chronyd's tracking", () => {
  /** Of a chronyd that follows a server that is 45 s ahead; the sequence is 7. */
  const reply = (change: (data: Buffer) => void = () => undefined): Buffer => {
    const data = Buffer.alloc(104)
    data.set([6, 2, 0, 0, 0, 33, 0, 5])
    data.writeUInt32BE(7, 16)
    data.writeUInt32BE(0x7f000001, 28)
    data.writeUInt16BE(3, 52)
    // What must be added to the clock: 45 s.
    data.writeInt32BE((7 << 25) | (0.703125 * 2 ** 25 * 0.5), 68)
    data.writeInt32BE(((-1 & 0x7f) << 25) | (2 ** 23), 76)
    change(data)
    return data
  }

  it('is asked by a question as long as the answer', () => {
    expect(encodeTrackingRequest(7)).toHaveLength(104)
    expect(encodeTrackingRequest(7).subarray(0, 12).toString('hex')).toBe('060100000021000000000007')
  })

  it('is the machine minus the true time', () => {
    expect(decodeTracking(reply(), 7)).toEqual({
      refId: '7F000001',
      stratum: 3,
      leap: 'none',
      systemOffsetSeconds: -45,
      rmsOffsetSeconds: 0.125,
    })
  })

  it.each([
    ['another sequence', reply((data) => data.writeUInt32BE(8, 16)), undefined],
    ['a question', reply((data) => data.writeUInt8(1, 1)), undefined],
    ['garbage', Buffer.from('hello'), undefined],
    ['nothing', Buffer.alloc(0), undefined],
    ['a refusal', reply((data) => data.writeUInt16BE(2, 8)), expect.stringContaining('status 2')],
    ['another version', reply((data) => data.writeUInt8(5, 0)), expect.stringContaining('version 5')],
    ['another report', reply((data) => data.writeUInt16BE(6, 6)), expect.stringContaining('something else')],
    ['half of it', reply().subarray(0, 90), expect.stringContaining('something else')],
  ])('is not taken from %s', (_, data, expected) => {
    expect(decodeTracking(data, 7)).toEqual(expected)
  })

  it.each([
    ['unsynchronised', '00000000', /not synchronised/],
    ['none', '7F7F0101', /own clock/],
    ['none', '7F000001', undefined],
  ] as const)('with leap %s and source %s', (leap, refId, expected) => {
    const trouble = trackingTrouble({ leap, refId, stratum: 3, systemOffsetSeconds: 0, rmsOffsetSeconds: 0 })
    if (expected) expect(trouble).toMatch(expected)
    else expect(trouble).toBeUndefined()
  })
})
