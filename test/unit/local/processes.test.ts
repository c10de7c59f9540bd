// A record leads to a process only while id and start time agree; nothing else may ever be ended.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import {
  innermostPid,
  isAlive,
  parseRecord,
  parseStat,
  readRecord,
  recordMatches,
  recordOf,
  stopRecorded,
  writeRecord,
} from '../../../deploy/local/processes.ts'

const folder = mkdtempSync(join(tmpdir(), 'processes-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** A line of /proc/<pid>/stat with the fields that matter; the others count up so that a wrong field shows. */
const statLine = (command: string, state: string, startTime: string): string =>
  [
    `4242 (${command})`,
    state,
    '17',
    ...Array.from({ length: 17 }, (_, i) => String(100 + i)),
    startTime,
    '9',
    '9',
  ].join(' ')

describe('parseStat', () => {
  it('takes field 22 as the start time and field 4 as the parent', () => {
    expect(parseStat(statLine('etcd', 'S', '31337'))).toEqual({ state: 'S', parent: 17, startTime: '31337' })
  })

  it('is not misled by blanks and brackets in the name of a command', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 15 }), (command) => {
        expect(parseStat(statLine(`${command}) R (x`, 'S', '5'))).toEqual({ state: 'S', parent: 17, startTime: '5' })
      }),
    )
  })

  it('knows a line that is cut short', () => {
    expect(parseStat('4242 (etcd) S 17 100')).toBeUndefined()
    expect(parseStat('')).toBeUndefined()
  })

  it('agrees with the kernel about this very process', () => {
    expect(recordOf(process.pid, 'self')).toMatchObject({
      pid: process.pid,
      startTime: expect.stringMatching(/^\d+$/) as string,
    })
  })
})

describe('recordMatches', () => {
  const record = { pid: 4242, startTime: '31337', name: 'etcd' }

  it('holds for the same start time, whatever the process calls itself now', () => {
    expect(recordMatches(record, statLine('renamed', 'R', '31337'))).toBe(true)
  })

  it.each([
    ['another start time: the id was used again', statLine('etcd', 'S', '31338')],
    ['a zombie', statLine('etcd', 'Z', '31337')],
    ['no such process', undefined],
  ])('does not hold for %s', (_, line) => expect(recordMatches(record, line)).toBe(false))
})

describe('records', () => {
  it('come back as they were written', () => {
    const record = { pid: 4242, startTime: '31337', name: 'etcd' }
    writeRecord(join(folder, 'record.json'), record)
    expect(readRecord(join(folder, 'record.json'))).toEqual(record)
  })

  it.each([
    ['torn', '{"pid": 42'],
    ['of the first process of the machine', '{"pid": 1, "startTime": "5"}'],
    ['of every process', '{"pid": -1, "startTime": "5"}'],
    ['without a start time', '{"pid": 4242}'],
    ['with a start time that is no number', '{"pid": 4242, "startTime": "soon"}'],
    ['that is no object', '4242'],
  ])('%s lead nowhere', (_, text) => {
    writeFileSync(join(folder, 'record.json'), text)
    expect(parseRecord(text)).toBeUndefined()
    expect(readRecord(join(folder, 'record.json'))).toBeUndefined()
  })
})

describe('stopRecorded', () => {
  it('leaves a process alone whose start time is another', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' })
    try {
      const record = recordOf(child.pid ?? 0, 'sleep')
      if (!record) throw new Error('sleep did not start')
      await stopRecorded({ ...record, startTime: String(Number(record.startTime) - 1) }, 1)
      expect(isAlive(record)).toBe(true)
    } finally {
      child.kill('SIGKILL')
    }
  })

  it('kills what does not heed SIGTERM', async () => {
    const child = spawn('sh', ['-c', 'trap "" TERM; echo deaf; while :; do sleep 1; done'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const ended = once(child, 'exit')
    await once(child.stdout, 'data')
    const record = recordOf(child.pid ?? 0, 'deaf')
    if (!record) throw new Error('the shell did not start')
    await stopRecorded(record, 0.2)
    expect((await ended)[1]).toBe('SIGKILL')
    expect(isAlive(record)).toBe(false)
  })
})

describe('innermostPid', () => {
  it('is the last of several ids', () => expect(innermostPid('Name:\tx\nNSpid:\t4242\t7\nVmRSS:\t1')).toBe(7))
  it('is nothing for a process of this namespace', () =>
    expect(innermostPid('Name:\tx\nNSpid:\t4242\n')).toBeUndefined())
})
