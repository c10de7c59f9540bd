// The local cluster under fire: killed half-way up, its parts killed while it runs. Whatever happened, `down` leaves nothing behind and
// `up` heals. It uses a folder and a network of its own, beside any cluster that is up.

import { execFileSync, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { clusterSettings } from '../../deploy/local/settings.ts'
import { eventually } from '../fixtures/eventually.ts'

const environment = {
  ...process.env,
  CLUSTER: 'local',
  TASKQUEUE_CLUSTER_DIR: '/var/lib/taskqueue-local-faults',
  TASKQUEUE_CLUSTER_NETWORK: '10.219.0.0/16',
}
const settings = clusterSettings(environment)
const program = join(import.meta.dirname, '../../deploy/local/cluster.ts')

interface Ended {
  status: number | null
  output: string
}

/** Runs a command of the cluster; `killAt` kills it with SIGKILL as soon as its output has these words. */
function cluster(command: string, killAt?: string): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [program, command], { env: environment, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    const hear = (chunk: Buffer): void => {
      output += chunk.toString('utf8')
      if (killAt !== undefined && output.includes(killAt)) child.kill('SIGKILL')
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    child.on('close', (status) => resolve({ status, output }))
  })
}

/** Every trace that a cluster can leave on this machine, one line each. */
function traces(): string[] {
  const found: string[] = []
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const line = read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')
    if (line.includes(settings.folder)) found.push(`process ${pid}: ${line}`)
    if (read(`/proc/${pid}/cgroup`).includes(settings.scope)) found.push(`process ${pid} in our cgroup`)
  }
  for (const line of read('/proc/self/mountinfo').split('\n'))
    if (line.includes(settings.folder)) found.push(`mount ${line}`)
  for (const device of readdirSync('/sys/class/net'))
    if (device === settings.link) found.push(`network device ${device}`)
  if (nftTables().includes(settings.scope)) found.push('an nft table')
  for (const cgroup of cgroups()) found.push(`cgroup ${cgroup}`)
  if (existsSync(settings.folder)) found.push(`folder ${settings.folder}`)
  return found
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function nftTables(): string {
  return existsSync('/usr/sbin/nft') ? execFileSync('/usr/sbin/nft', ['list', 'tables'], { encoding: 'utf8' }) : ''
}

function cgroups(): string[] {
  const out = execFileSync('find', ['/sys/fs/cgroup', '-maxdepth', '4', '-type', 'd', '-name', settings.scope], {
    encoding: 'utf8',
  })
  return out.split('\n').filter((line) => line !== '')
}

afterAll(async () => {
  await cluster('down')
})

describe('the local cluster', () => {
  it.each([
    '==> namespaces and network',
    '==> control plane',
    'control plane: etcd, API server, controllers, scheduler: done',
    '==> DNS and volumes',
  ])('killed at "%s" is taken down without a trace', async (words) => {
    const up = await cluster('up', words)
    expect(up.status, up.output).toBeNull()
    const down = await cluster('down')
    expect(down.status, down.output).toBe(0)
    expect(traces()).toEqual([])
  })

  it('killed half-way up goes on when it is brought up again, and is idempotent', async () => {
    await cluster('up', '==> node:')
    const up = await cluster('up')
    expect(up.status, up.output).toBe(0)
    expect(up.output.trimEnd().split('\n').at(-1)).toBe(settings.kubeconfig)
    const again = await cluster('up')
    expect(again.output).toContain('the cluster is up')
    expect((await cluster('status')).status).toBe(0)
    // The traces that must be gone afterwards are there to be found now.
    for (const kind of ['process', 'network device', 'nft table', 'cgroup', 'folder'])
      expect(traces().join('\n')).toContain(kind)
  })

  it('heals after its kubelet, its containerd and its API server were killed, and lets the rest run on', async () => {
    const untouched = ['kube-proxy', 'etcd'].map(recordedPid)
    for (const name of ['kubelet', 'containerd', 'kube-apiserver']) process.kill(recordedPid(name), 'SIGKILL')
    await eventually(async () => expect((await cluster('status')).status).toBe(1))
    const up = await cluster('up')
    expect(up.status, up.output).toBe(0)
    expect((await cluster('status')).status).toBe(0)
    expect(['kube-proxy', 'etcd'].map(recordedPid)).toEqual(untouched)
  })

  it('is taken down without a trace after everything of it was killed', async () => {
    for (const name of readdirSync(join(settings.folder, 'run')).filter((file) => file.endsWith('.json'))) {
      const record = JSON.parse(read(join(settings.folder, 'run', name))) as { pid?: number }
      if (record.pid !== undefined) killIfThere(record.pid)
    }
    const down = await cluster('down')
    expect(down.status, down.output).toBe(0)
    expect(traces()).toEqual([])
    expect((await cluster('down')).status).toBe(0)
  })
})

/** The end of one may already have been the end of the next: they share their namespaces. */
function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function recordedPid(name: string): number {
  const record = JSON.parse(readFileSync(join(settings.folder, 'run', `${name}.json`), 'utf8')) as { pid: number }
  return record.pid
}
