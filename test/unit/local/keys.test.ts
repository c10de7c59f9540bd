// Cache keys: whatever goes into a binary or an image changes its key, and nothing else does.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { buildKey } from '../../../deploy/local/binaries.ts'
import { imageKey, oldArchives, selectSources } from '../../../deploy/local/images.ts'
import { fullImageName } from '../../../deploy/local/local.ts'

describe('buildKey', () => {
  const base = {
    toolchain: 'go1.26.8',
    ldflags: '-s',
    files: new Map([
      ['go.mod', 'module x'],
      ['main.go', 'package main'],
    ]),
  }

  it('does not depend on the order of the files', () => {
    expect(buildKey({ ...base, files: new Map([...base.files].reverse()) })).toBe(buildKey(base))
  })

  it('changes with the toolchain, the flags, and the name or content of any file', () => {
    const changed = [
      { ...base, toolchain: 'go1.27.0' },
      { ...base, ldflags: '-s -w' },
      { ...base, files: new Map([...base.files, ['go.sum', '']]) },
      { ...base, files: new Map([...base.files, ['main.go', 'package main\n']]) },
      {
        ...base,
        files: new Map([
          ['go.modmodule', ' x'],
          ['main.go', 'package main'],
        ]),
      },
    ]
    expect(new Set([base, ...changed].map(buildKey)).size).toBe(changed.length + 1)
  })

  it('tells any two sets of files apart, however their names and contents run together', () => {
    const files = fc.dictionary(fc.string({ maxLength: 4 }), fc.string({ maxLength: 4 }), {
      maxKeys: 3,
      noNullPrototype: true,
    })
    fc.assert(
      fc.property(files, files, (a, b) => {
        const same = JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort())
        const key = (record: Record<string, string>) => buildKey({ ...base, files: new Map(Object.entries(record)) })
        expect(key(a) === key(b)).toBe(same)
      }),
    )
  })
})

describe('imageKey', () => {
  const base = { dockerfile: 'FROM scratch', args: { BASE: 'a:1', X: '1' }, files: new Map([['app.js', '644 ab']]) }

  it('is a tag that a registry takes, whatever the order of the arguments', () => {
    expect(imageKey(base)).toMatch(/^[0-9a-f]{16}$/)
    expect(imageKey({ ...base, args: { X: '1', BASE: 'a:1' } })).toBe(imageKey(base))
  })

  it('changes with the Dockerfile, an argument, and a file', () => {
    const changed = [
      { ...base, dockerfile: 'FROM scratch\n' },
      { ...base, args: { BASE: 'a:2', X: '1' } },
      { ...base, files: new Map([['app.js', '755 ab']]) },
    ]
    expect(new Set([base, ...changed].map(imageKey)).size).toBe(4)
  })
})

describe('oldArchives', () => {
  it('are those of the very image, but for the newest', () => {
    const [a, b, c] = ['a', 'b', 'c'].map((digit) => `app-${digit.repeat(16)}.tar`) as [string, string, string]
    const base = 'debian-base-bookworm-2026-11-0123abcd.tar'
    const files = new Map([
      [a, 2],
      [b, 3],
      [c, 1],
      [`app-worker-${'0'.repeat(16)}.tar`, 0],
      ['app.tar', 0],
      ['build.lock', 0],
      [base, 0],
    ])
    expect(oldArchives(files, 'app', 1)).toEqual([a, c])
    expect(oldArchives(files, 'app', 3)).toEqual([])
    expect(oldArchives(files, 'debian-base', 0)).toEqual([base])
  })
})

describe('selectSources', () => {
  const debian = (codename: string) =>
    `Debian|${codename}|main|Packages|deb http://mirror.example/debian/ ${codename} main`

  it("takes Debian's own sources of the base's release, once each, and no one else's", () => {
    const others = [
      'Nodes|nodistro|main|Packages|deb http://other.example/ nodistro main',
      debian('bookworm').replace('|main|', '|contrib|'),
    ]
    const targets = [debian('bookworm'), debian('bookworm'), debian('bookworm-updates'), ...others, ''].join('\n')
    expect(selectSources(targets)).toEqual([
      'deb http://mirror.example/debian/ bookworm main',
      'deb http://mirror.example/debian/ bookworm-updates main',
    ])
  })

  it('leaves the choice to mmdebstrap where the machine runs another release', () => {
    expect(selectSources(debian('trixie'))).toEqual([])
    // Updates without the release itself would make no system.
    expect(selectSources(debian('bookworm-updates'))).toEqual([])
  })
})

describe('fullImageName', () => {
  it.each([
    ['redis:7', 'docker.io/library/redis:7'],
    ['library/redis:7', 'docker.io/library/redis:7'],
    ['taskqueue.local/operator:abc', 'taskqueue.local/operator:abc'],
    ['localhost/x:1', 'localhost/x:1'],
    ['registry:5000/x:1', 'registry:5000/x:1'],
  ])('%s is %s', (name, full) => expect(fullImageName(name)).toBe(full))
})
