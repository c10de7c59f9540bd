// One holder at a time; a holder that was killed holds nothing.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { withLock } from '../../../deploy/local/lockfile.ts'
import { recordOf } from '../../../deploy/local/processes.ts'

const folder = mkdtempSync(join(tmpdir(), 'locks-'))
afterAll(() => rmSync(folder, { recursive: true }))
const newFile = () => join(mkdtempSync(join(folder, 'lock-')), 'lock')
const now = { purpose: 'test', waitSeconds: 0 }

describe('withLock', () => {
  it('is released after success and after failure', async () => {
    const file = newFile()
    expect(await withLock(file, now, () => Promise.resolve(existsSync(file)))).toBe(true)
    await expect(withLock(file, now, () => Promise.reject(new Error('odd')))).rejects.toThrow('odd')
    expect(readdirSync(join(file, '..'))).toEqual([])
  })

  it('names the living holder and does nothing', async () => {
    const file = newFile()
    const other = spawn('sleep', ['60'], { stdio: 'ignore' })
    try {
      writeFileSync(file, JSON.stringify(recordOf(other.pid ?? 0, 'cluster-up')))
      let waited = 0
      const options = { ...now, onWait: () => waited++ }
      const work = () => Promise.reject(new Error('must not run'))
      await expect(withLock(file, options, work)).rejects.toMatchObject({
        code: 'LOCKED',
        message: expect.stringContaining(`cluster-up (process ${other.pid ?? 0})`) as string,
      })
      expect(waited).toBe(1)
      expect(existsSync(file)).toBe(true)
    } finally {
      other.kill('SIGKILL')
    }
  })

  it.each([
    [
      'of a process that is gone',
      async () => {
        const gone = spawn('sleep', ['60'], { stdio: 'ignore' })
        const record = recordOf(gone.pid ?? 0, 'gone')
        gone.kill('SIGKILL')
        await once(gone, 'exit')
        return JSON.stringify(record)
      },
    ],
    [
      'of a process whose id another one has now',
      () => JSON.stringify({ pid: process.pid, startTime: '1', name: 'old' }),
    ],
    ['that is torn', () => '{"pid":'],
  ])('takes over a lock %s', async (_, content) => {
    const file = newFile()
    writeFileSync(file, await content())
    expect(await withLock(file, now, () => Promise.resolve('held'))).toBe('held')
    expect(readdirSync(join(file, '..'))).toEqual([])
  })

  it('lets several in, one after the other', async () => {
    const file = newFile()
    let inside = 0
    let most = 0
    const turn = () =>
      withLock(file, { ...now, waitSeconds: 15 }, async () => {
        inside += 1
        most = Math.max(most, inside)
        await new Promise((resolve) => setImmediate(resolve))
        inside -= 1
      })
    await Promise.all(Array.from({ length: 4 }, turn))
    expect(most).toBe(1)
  })
})
