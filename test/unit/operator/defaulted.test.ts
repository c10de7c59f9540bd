// What a CRD of an older release leaves out, filled in.
import { describe, expect, it } from 'vitest'
import { defaulted, type Defaults } from '../../../src/operator/defaulted.ts'
import { specDefaults } from '../../../src/operator/defaults.ts'

function of(value: unknown, defaults: Defaults = specDefaults): { value: unknown; lacking: string[] } {
  const lacking: string[] = []
  return { value: defaulted(value, defaults, 'spec', (path) => lacking.push(path)), lacking }
}

describe('a spec', () => {
  it('gets the defaults of what it lacks, also in lists and in what a default holds', () => {
    const spec = {
      engine: 'Node',
      broker: { url: 'redis://r' },
      workers: [{ name: 'a' }, { name: 'b', concurrency: 2 }],
    }
    const { value, lacking } = of(spec)
    expect(value).toMatchObject({
      environment: 'Production',
      suspend: false,
      broker: { url: 'redis://r', visibilityTimeoutSeconds: 3600 },
      workers: [
        { name: 'a', concurrency: 8, maxTaskSeconds: 600 },
        { name: 'b', concurrency: 2, maxTaskSeconds: 600 },
      ],
      patrol: { idleQueueSeconds: 3600, stalledSeconds: 120, restartStalled: true },
    })
    expect(value).not.toHaveProperty('beat')
    expect(lacking).toContain('spec.patrol')
    expect(lacking).not.toContain('spec.patrol.stalledSeconds')
    expect(new Set(lacking)).toContain('spec.workers[].concurrency')
    expect(spec.workers[0]).toEqual({ name: 'a' })
  })

  it('that lacks nothing is the very same', () => {
    const whole = of({ engine: 'Node', broker: {}, workers: [{ name: 'a' }] }).value
    expect(of(whole)).toEqual({ value: whole, lacking: [] })
    expect(of(whole).value).toBe(whole)
  })

  it('has its fields in the order of the API server', () => {
    const defaults = { properties: { b: { default: 1 }, z: { default: [] } } }
    expect(Object.keys(of({ a: 0, m: 0 }, defaults).value as object)).toEqual(['a', 'b', 'm', 'z'])
  })

  it.each([null, 'text', 7, [], {}])('that is %j where something else belongs is left alone', (value) => {
    expect(of({ engine: value }, { properties: { engine: { properties: { a: {} } } } }).value).toEqual({
      engine: value,
    })
  })

  it('does not share what a default holds', () => {
    const [one, two] = [of({}), of({})].map(({ value }) => (value as { patrol: object }).patrol)
    expect(one).toEqual(two)
    expect(one).not.toBe(two)
  })
})
