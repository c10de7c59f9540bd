// What the API server's answers mean for the table of components, and how progress and failures are told.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest'
import { LocalClusterError } from '../../../deploy/local/errors.ts'
import { describeFailure, Stages } from '../../../deploy/local/stage.ts'
import { dnsStatus, nodeStatus, renderStatus, volumeStatus } from '../../../deploy/local/status.ts'

const folder = mkdtempSync(join(tmpdir(), 'status-'))
afterAll(() => rmSync(folder, { recursive: true }))

const conditions = (...list: { type: string; status: string; message?: string }[]) => ({ status: { conditions: list } })

describe('components', () => {
  it('a node is well only when it says that it is Ready', () => {
    expect(nodeStatus(conditions({ type: 'Ready', status: 'True' }))).toMatchObject({ healthy: true })
    expect(nodeStatus(conditions({ type: 'Ready', status: 'Unknown', message: 'Kubelet stopped posting' }))).toEqual({
      name: 'node',
      healthy: false,
      detail: 'Kubelet stopped posting',
    })
    expect(nodeStatus(conditions({ type: 'MemoryPressure', status: 'True' }))).toMatchObject({ healthy: false })
    expect(nodeStatus(undefined)).toMatchObject({ healthy: false, detail: 'not registered' })
  })

  it('names work once CoreDNS is available', () => {
    expect(dnsStatus(conditions({ type: 'Available', status: 'True' }))).toMatchObject({ healthy: true })
    expect(dnsStatus(conditions({ type: 'Available', status: 'False', message: 'too few' }))).toMatchObject({
      healthy: false,
      detail: 'too few',
    })
    expect(dnsStatus({})).toMatchObject({ healthy: false })
  })

  it('a pool of volumes that is all in use is well, one that is not there is not', () => {
    const items = [{ status: { phase: 'Bound' } }, { status: { phase: 'Available' } }]
    expect(volumeStatus({ items }, 2)).toEqual({ name: 'volumes', healthy: true, detail: '1 of 2 free' })
    expect(volumeStatus({ items: [] }, 2)).toMatchObject({ healthy: false })
    expect(volumeStatus(undefined, 2)).toMatchObject({ healthy: false })
  })

  it('make a table that lines up', () => {
    const table = renderStatus([
      { name: 'kube-controller-manager', healthy: true, detail: 'process 7' },
      { name: 'dns', healthy: false, detail: 'too few' },
    ])
    expect(table.split('\n')).toEqual([
      'COMPONENT                STATUS  DETAIL',
      'kube-controller-manager  ok      process 7',
      'dns                      FAILED  too few',
    ])
  })
})

describe('Stages', () => {
  afterEach(() => vi.useRealTimers())

  it('says when a stage begins, that it is still going, and how long it took', async () => {
    vi.useFakeTimers()
    const log = join(folder, 'build.log')
    writeFileSync(log, 'first\ncompiling k8s.io/api\n')
    const lines: string[] = []
    const stages = new Stages(
      (line) => lines.push(line),
      () => Date.now(),
    )
    const work = stages.run('build', () => new Promise((resolve) => setTimeout(resolve, 20_000)), log)
    await vi.advanceTimersByTimeAsync(20_000)
    await work
    expect(lines).toEqual(['==> build', '    build: 15.0 s so far (compiling k8s.io/api)', '    build: done in 20.0 s'])
    await vi.advanceTimersByTimeAsync(60_000)
    expect(lines).toHaveLength(3)
  })

  it('says that a stage failed and passes the reason on', async () => {
    const lines: string[] = []
    const stages = new Stages(
      (line) => lines.push(line),
      () => 0,
    )
    await expect(stages.run('build', () => Promise.reject(new Error('no disk')))).rejects.toThrow('no disk')
    expect(lines).toEqual(['==> build', '    build: FAILED after 0.0 s'])
  })
})

describe('describeFailure', () => {
  it('ends with the last lines of the log of the component at fault', () => {
    const log = join(folder, 'etcd.log')
    writeFileSync(log, `${Array.from({ length: 50 }, (_, i) => `line ${i}`).join('\n')}\n`)
    const told = describeFailure(new LocalClusterError('COMPONENT_FAILED', 'etcd is not well.', log))
    expect(told).toContain('COMPONENT_FAILED: etcd is not well.')
    expect(told.split('\n').at(-1)).toBe('line 49')
    expect(told).not.toContain('line 19\n')
  })

  it('shows where an unforeseen error came from', () => {
    expect(describeFailure(new Error('odd'))).toMatch(/odd\n\s+at /)
  })
})
