// Bad TaskQueues against the real API server: each is refused with a message that says what to write instead.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ControlPlane } from '../../fixtures/controlplane.ts'

let plane: ControlPlane

beforeAll(async () => {
  plane = await ControlPlane.start()
})
afterAll(() => plane.stop())

type Spec = Record<string, unknown>
const good: Spec = {
  engine: 'Node',
  image: 'registry.example/app:1',
  app: './tasks.js',
  broker: { url: 'redis://redis:6379/0' },
  workers: [{ name: 'default', replicas: 1 }],
}
const pool = (changes: Spec): Spec => ({ ...good, workers: [{ name: 'default', ...changes }] })
const beat = (changes: Spec): Spec => ({ ...good, beat: changes })
const schedule = (changes: Spec): Spec => beat({ schedules: [{ name: 'a', task: 't', ...changes }] })
const without = (field: string): Spec => Object.fromEntries(Object.entries(good).filter(([name]) => name !== field))
const celery = (changes: Spec): Spec => ({ ...good, engine: 'Celery', app: 'shop', ...changes })

const refused: [string, Spec, RegExp][] = [
  [
    'replicas and autoscale together',
    pool({ replicas: 1, autoscale: { maxReplicas: 3 } }),
    /write replicas for a fixed number or autoscale/,
  ],
  ['two pools of one name', { ...good, workers: [{ name: 'a' }, { name: 'a' }] }, /give each pool a name of its own/],
  ['no image', without('image'), /spec\.image is missing: name the image/],
  ['an empty image', { ...good, image: '' }, /spec\.image is missing/],
  ['no app', without('app'), /spec\.app is missing: name the module/],
  ['no engine', without('engine'), /spec\.engine: Required value/],
  ['an unknown engine', { ...good, engine: 'Ruby' }, /supported values: "Node", "Celery"/],
  ['no broker', without('broker'), /spec\.broker: Required value/],
  ['a broker without a URL', { ...good, broker: {} }, /exactly one of url .* and urlFrom/],
  ['a password in the URL', { ...good, broker: { url: 'redis://:pw@h:6379/0' } }, /belongs into a Secret/],
  [
    'a password for sentinels',
    { ...good, broker: { url: 'sentinel://:pw@h/0?master_name=m' } },
    /belongs into a Secret/,
  ],
  ['a password in the query', { ...good, broker: { url: 'redis://h:6379/0?password=pw' } }, /belongs into a Secret/],
  ['a blank in the URL', { ...good, broker: { url: 'redis://h h:6379/0' } }, /redis:\/\/host:port\/db/],
  ['a blank in the image', { ...good, image: 'a b' }, /should match/],
  ['a default queue with a comma', { ...good, taskDefaults: { queue: 'a,b' } }, /should match/],
  ['an empty word in a command', beat({ scheduler: 'Command', command: [''] }), /at least 1/],
  ['another kind of broker', { ...good, broker: { url: 'amqp://h' } }, /redis:\/\/host:port\/db/],
  [
    'a tiny visibility timeout',
    { ...good, broker: { url: 'redis://h', visibilityTimeoutSeconds: 1 } },
    /greater than or equal to 10/,
  ],
  ['nothing to run', without('workers'), /nothing to run: give at least one entry in spec\.workers/],
  ['a pool named beat', pool({ name: 'beat' }), /can not be named "beat"/],
  ['a pool name with capitals', pool({ name: 'Mail' }), /should match/],
  ['an empty list of queues', pool({ queues: [] }), /at least 1/],
  ['a queue name with a comma', pool({ queues: ['a,b'] }), /should match/],
  ['a queue twice', pool({ queues: ['a', 'a'] }), /Duplicate value/],
  ['no concurrency', pool({ concurrency: 0 }), /greater than or equal to 1/],
  ['negative replicas', pool({ replicas: -1 }), /greater than or equal to 0/],
  [
    'minReplicas above maxReplicas',
    pool({ autoscale: { minReplicas: 5, maxReplicas: 3 } }),
    /lower minReplicas or raise maxReplicas/,
  ],
  ['autoscale without maxReplicas', pool({ autoscale: {} }), /maxReplicas: Required value/],
  [
    'a schedule with cron and everySeconds',
    schedule({ cron: '* * * * *', everySeconds: 5 }),
    /exactly one of cron, everySeconds and at/,
  ],
  ['a schedule with neither', schedule({}), /exactly one of cron, everySeconds and at/],
  ['a date without an offset', schedule({ at: '2026-01-31T09:00:00' }), /spec.beat.schedules\[0\].at/],
  ['a date with a cron line', schedule({ at: '2026-01-31T09:00:00Z', cron: '* * * * *' }), /exactly one of cron/],
  ['jitter beyond the next slot', schedule({ everySeconds: 5, jitterSeconds: 6 }), /after the next/],
  ['an interval of nothing', schedule({ everySeconds: 0 }), /greater than or equal to 1/],
  [
    'two schedules of one name',
    beat({
      schedules: [
        { name: 'a', task: 't', everySeconds: 5 },
        { name: 'a', task: 'u', everySeconds: 6 },
      ],
    }),
    /Duplicate value/,
  ],
  ['an unknown catchUp', schedule({ everySeconds: 5, catchUp: 'Some' }), /supported values: "Last", "All", "None"/],
  ['a Celery beat of a Node app', beat({ scheduler: 'Celery' }), /needs engine Celery/],
  ['a Command beat without a command', beat({ scheduler: 'Command' }), /needs beat\.command/],
  ['a command of a Declared beat', beat({ command: ['x'] }), /used by scheduler: Command only/],
  ['an image of a Declared beat', beat({ image: 'x' }), /is not used by scheduler: Declared/],
  [
    'schedules of a Celery beat',
    celery({ beat: { scheduler: 'Celery', schedules: [{ name: 'a', task: 't', everySeconds: 5 }] } }),
    /run by scheduler: Declared only/,
  ],
  [
    'HoldBeat of what can not be held',
    { ...beat({ scheduler: 'Command', command: ['x'] }), clockSync: { onSkew: 'HoldBeat' } },
    /can hold only scheduler: Declared/,
  ],
  ['taskDefaults for Celery', celery({ taskDefaults: { queue: 'x' } }), /read by Node workers only/],
  ['a test environment for Celery', celery({ environment: 'Test' }), /honoured by Node workers only/],
  [
    'results by url and urlFrom',
    { ...good, results: { url: 'redis://h', urlFrom: { secretKeyRef: { name: 'a', key: 'b' } } } },
    /by url or by urlFrom, not both/,
  ],
  ['a schedule without a task', beat({ schedules: [{ name: 'a', everySeconds: 5 }] }), /task: Required value/],
  ['a schedule without a name', beat({ schedules: [{ task: 't', everySeconds: 5 }] }), /name: Required value/],
  [
    'a schedule named with a blank',
    beat({ schedules: [{ name: 'a b', task: 't', everySeconds: 5 }] }),
    /schedules\[0\]\.name.* should match/,
  ],
  ['a date in words', schedule({ at: 'tomorrow' }), /schedules\[0\]\.at.* should match/],
  ['negative jitter', schedule({ everySeconds: 5, jitterSeconds: -1 }), /greater than or equal to 0/],
  ['a negative grace time', schedule({ everySeconds: 5, misfireGraceSeconds: -1 }), /greater than or equal to 0/],
  ['arguments that are no list', schedule({ everySeconds: 5, args: 'x' }), /args.*must be of type array/],
  ['a queue of a schedule with a blank', schedule({ everySeconds: 5, queue: 'a b' }), /queue.* should match/],
  ['a limit of no skew', { ...good, clockSync: { maxSkewSeconds: 0 } }, /greater than or equal to 1/],
  ['an unknown onSkew', { ...good, clockSync: { onSkew: 'Panic' } }, /supported values: "Report", "HoldBeat"/],
  ['a probe of a Node pool by a command', pool({ probe: 'Exec' }), /probe is for engine Celery/],
  [
    'an unknown probe',
    celery({ workers: [{ name: 'a', probe: 'Ping' }] }),
    /supported values: "Companion", "Exec", "None"/,
  ],
  ['no time for a task', pool({ maxTaskSeconds: 0 }), /greater than or equal to 1/],
  ['a pool without a name', { ...good, workers: [{ replicas: 1 }] }, /name: Required value/],
  ['results that live no time', { ...good, results: { ttlSeconds: 0 } }, /greater than or equal to 1/],
  ['a tiny payload limit', { ...good, taskDefaults: { maxPayloadBytes: 1 } }, /greater than or equal to 1024/],
  ['a Secret without a key', { ...good, broker: { urlFrom: { secretKeyRef: { name: 'a' } } } }, /key: Required value/],
  ['a network policy that is a word', { ...good, networkPolicy: { enabled: 'yes' } }, /must be of type boolean/],
  [
    'labels of a PodMonitor that are no text',
    { ...good, podMonitor: { enabled: true, labels: { a: 1 } } },
    /labels\.a.*must be of type string/,
  ],
  ['suspend in words', { ...good, suspend: 'yes' }, /suspend.*must be of type boolean/],
  [
    'a zero step of autoscale',
    pool({ autoscale: { maxReplicas: 3, backlogPerReplica: 0 } }),
    /greater than or equal to 1/,
  ],
  ['an unknown field', { ...good, workerz: [] }, /unknown field "spec\.workerz"/],
  ['a size that is none', beat({ storage: { size: 'big' } }), /should match/],
  [
    'an NTP server that is a URL',
    { ...good, clockSync: { servers: ['ntp://ntp.example'] } },
    /servers\[0\].*should match/,
  ],
  [
    'an unknown clock mode',
    { ...good, clockSync: { mode: 'Always' } },
    /supported values: "Monitor", "Discipline", "Off"/,
  ],
]

describe('the API server', () => {
  it('takes a good TaskQueue, and the examples of the documentation', async () => {
    expect(await plane.refusal({ name: 'good', spec: good })).toBe('')
    expect(await plane.refusal({ name: 'good', spec: celery({ beat: { scheduler: 'Celery' } }) })).toBe('')
    expect(await plane.refusal({ name: 'good', spec: pool({ autoscale: { maxReplicas: 3 } }) })).toBe('')
    expect(await plane.refusal({ name: 'good', spec: schedule({ cron: '0 3 * * *' }) })).toBe('')
    for (const url of [
      'sentinel://a:26379,b/0?master_name=m',
      'redis+cluster://a:7000,b:7001',
      'rediss://h/0?ssl_cert_reqs=none',
    ])
      expect(await plane.refusal({ name: 'good', spec: { ...good, broker: { url } } })).toBe('')
  })

  it.each(refused)('refuses %s and says what to do', async (_, spec, message) => {
    expect(await plane.refusal({ name: 'bad', spec })).toMatch(message)
  })

  it.each(['a'.repeat(41), '1st', 'with.dot'])('refuses the name %s', async (name) => {
    expect(await plane.refusal({ name, spec: good })).toMatch(/at most 40 lower-case letters, digits and dashes/)
  })

  it('refuses names that are too long together', async () => {
    const spec = pool({ name: 'p'.repeat(20) })
    expect(await plane.refusal({ name: 'a'.repeat(30), spec })).toMatch(/must not be longer than 45 characters/)
  })
})
