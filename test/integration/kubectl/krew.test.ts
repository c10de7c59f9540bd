// The plugin as krew installs it: the manifest keeps krew's rules, and the archive, unpacked into an empty folder, runs from there.

import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { pack } from '../../../deploy/krew/pack.ts'
import { attempt, run } from '../../../deploy/local/command.ts'
import { ControlPlane, nodeSpec } from '../../fixtures/controlplane.ts'

interface Platform {
  selector: { matchLabels: { os: string } }
  uri: string
  sha256: string
  bin: string
}
interface Plugin {
  apiVersion: string
  kind: string
  metadata: { name: string }
  spec: { version: string; shortDescription: string; description: string; homepage: string; platforms: Platform[] }
}

let plane: ControlPlane
let folder: string
let archive: string
let plugin: Plugin

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'taskqueue-krew-test-'))
  const packed = await pack(join(folder, 'out'), 'https://releases.example')
  archive = packed.archive
  plugin = parse(packed.manifest) as Plugin
  plane = await ControlPlane.start()
})
afterAll(async () => {
  await plane.stop()
  rmSync(folder, { recursive: true, force: true })
})

const digest = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex')

describe("krew's manifest", () => {
  it("keeps krew's rules", () => {
    expect([plugin.apiVersion, plugin.kind]).toEqual(['krew.googlecontainertools.github.com/v1alpha2', 'Plugin'])
    expect(plugin.metadata.name).toMatch(/^[a-z][a-z0-9-]*$/)
    expect(plugin.spec.version).toMatch(/^v\d+\.\d+\.\d+(-[0-9a-z.-]+)?$/)
    // What krew's reviewers ask for: one short line, without the plugin's kind of thing in it.
    expect(plugin.spec.shortDescription.length).toBeLessThan(50)
    expect(plugin.spec.shortDescription).not.toMatch(/\.$|kubectl|plugin/i)
    expect(plugin.spec.platforms.map(({ selector }) => selector.matchLabels.os)).toEqual(['linux', 'darwin'])
    for (const { uri, sha256, bin } of plugin.spec.platforms) {
      expect(uri).toMatch(/^https:\/\/.*\.tar\.gz$/)
      expect(sha256).toBe(digest(archive))
      expect(bin).not.toMatch(/^\/|\.\./)
    }
  })

  it('is the same when it is packed again', async () => {
    expect(digest((await pack(join(folder, 'again'), 'https://releases.example')).archive)).toBe(digest(archive))
  })
})

describe('the archive', () => {
  it('runs from an empty folder, by kubectl', async () => {
    const home = join(folder, 'home')
    mkdirSync(home)
    await run('tar', ['-xzf', archive, '-C', home])
    // Krew's own way: a link by the plugin's name in a folder that is on the PATH.
    const bin = join(folder, 'bin')
    mkdirSync(bin)
    symlinkSync(join(home, plugin.spec.platforms[0]?.bin ?? ''), join(bin, 'kubectl-taskqueue'))
    await plane.create({ name: 'orders', spec: nodeSpec('redis://127.0.0.1:1/0') })
    const PATH = [bin, dirname(plane.server.kubectl), dirname(process.execPath), '/usr/bin', '/bin'].join(':')
    const env = { PATH, KUBECONFIG: plane.server.kubeconfig, HOME: home }
    const told = await attempt('kubectl', ['taskqueue', 'status', 'orders', '-n', 'demo', '-o', 'json'], { env })
    // Nobody reconciles it here, so it is not ready, which is what 1 says.
    expect([told.status, told.stderr]).toEqual([1, ''])
    expect(told.stdout).toBe('{}\n')
    expect((await attempt('kubectl', ['taskqueue', 'fly'], { env })).status).toBe(2)
  })
})
