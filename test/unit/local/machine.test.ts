// What is read off the machine: routes, mounts, resolvers, nft tables, packages. A wrong reading could break the machine's own network
// or delete through a mount.
import { describe, expect, it } from 'vitest'
import { withoutLoopback, clusterResolvConf } from '../../../deploy/local/dns.ts'
import { localTables, parseNetwork, takenBy } from '../../../deploy/local/network.ts'
import { missingPackages } from '../../../deploy/local/packages.ts'
import { mountsBelow } from '../../../deploy/local/teardown.ts'

describe('takenBy', () => {
  const network = '10.213.0.0/16'
  const routes = (...lines: string[]) =>
    ['default via 192.0.2.1 dev eth0', '192.0.2.0/24 dev eth0 proto kernel', ...lines, ''].join('\n')

  it.each([
    ['a network inside of it', '10.213.7.0/24 dev docker0 proto kernel'],
    ['a network around it', '10.212.0.0/14 dev wg0'],
    ['a single address in it', '10.213.9.9 dev ppp0 proto kernel'],
    ['the same network on a device whose name begins alike', '10.213.0.0/30 dev tq-local2 proto kernel'],
  ])('sees %s', (_, line) => expect(takenBy(routes(line), network, 'tq-local')).toBe(line))

  it.each([
    ["the link's own routes", '10.213.64.0/18 via 10.213.0.2 dev tq-local '],
    ['neighbouring networks', '10.212.0.0/16 dev a\n10.214.0.0/16 dev b'],
    ['routes of a VPN to half of the internet', '0.0.0.0/1 via 10.8.0.1 dev tun0'],
    ['lines that name no network', 'broadcast 10.213.0.3 dev eth0 table local'],
  ])('does not mind %s', (_, line) => expect(takenBy(routes(line), network, 'tq-local')).toBeUndefined())
})

describe('parseNetwork', () => {
  it('begins at the first address, whichever address names it', () => {
    expect(parseNetwork('10.213.77.9/16')).toEqual(parseNetwork('10.213.0.0/16'))
    expect(parseNetwork('255.255.255.255')).toEqual({ first: 2 ** 32 - 1, size: 1 })
    expect(parseNetwork('default')).toBeUndefined()
  })
})

describe('localTables', () => {
  it("finds local clusters' tables and nobody else's", () => {
    const listed = [
      'table ip nat',
      'table ip taskqueue-local',
      'table ip6 taskqueue-local',
      'table ip taskqueue-local-0123abcd',
    ]
    expect(
      localTables([...listed, 'table ip my-taskqueue-local', 'table ip taskqueue-local-staging'].join('\n')),
    ).toEqual(['taskqueue-local', 'taskqueue-local-0123abcd'])
  })
})

describe('mountsBelow', () => {
  const line = (point: string) => `36 35 98:0 / ${point} rw,noatime shared:1 - ext4 /dev/root rw`

  it('lists what is mounted at or below a folder, deepest first', () => {
    const text = ['/', '/data', '/data/a', '/data/a/b', '/database', '/x/data'].map(line).join('\n')
    expect(mountsBelow(text, '/data')).toEqual(['/data/a/b', '/data/a', '/data'])
  })

  it('reads blanks in names as the kernel writes them', () => {
    expect(mountsBelow(line(String.raw`/data/my\040disk`), '/data')).toEqual(['/data/my disk'])
  })
})

describe('resolvers', () => {
  it('on loopback are left out, since a pod would ask itself', () => {
    expect(withoutLoopback('nameserver 127.0.0.53\nnameserver 9.9.9.9\nsearch a\n')).toBe(
      'nameserver 9.9.9.9\nsearch a\n',
    )
    expect(withoutLoopback('nameserver ::1\n')).toBe('\n')
  })

  it("come from systemd's list where resolv.conf has only its stub", () => {
    const files: Record<string, string> = {
      '/etc/resolv.conf': 'nameserver 127.0.0.53\n',
      '/run/systemd/resolve/resolv.conf': 'nameserver 192.0.2.53\n',
    }
    expect(clusterResolvConf((file) => files[file])).toBe('nameserver 192.0.2.53\n')
    expect(clusterResolvConf(() => undefined)).toBe('')
  })
})

describe('missingPackages', () => {
  it('counts a package as there when any of its files is', () => {
    const packages = [
      { name: 'a', files: ['/usr/bin/a', '/usr/local/bin/a'] },
      { name: 'b', files: ['/usr/bin/b'] },
    ]
    expect(missingPackages(packages, (file) => file === '/usr/local/bin/a')).toEqual(['b'])
  })
})
