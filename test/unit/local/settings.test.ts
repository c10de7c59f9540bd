// Which cluster the environment asks for, and that what is built is what the settings say.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { cacheFolder, clusterKind, clusterSettings, versions } from '../../../deploy/local/settings.ts'

const refused = (name: string) =>
  expect.objectContaining({ code: 'SETTING_INVALID', message: expect.stringContaining(name) as string }) as Error

describe('clusterSettings', () => {
  it('cuts every address from the one network', () => {
    expect(clusterSettings({ TASKQUEUE_CLUSTER_NETWORK: '172.20.0.0/16' }).addresses).toEqual({
      network: '172.20.0.0/16',
      host: '172.20.0.1',
      node: '172.20.0.2',
      pods: '172.20.64.0/18',
      services: '172.20.128.0/18',
      apiService: '172.20.128.1',
      dnsService: '172.20.128.10',
    })
  })

  it('gives clusters in different folders different names everywhere', () => {
    const [a, b, c] = [{}, { TASKQUEUE_CLUSTER_DIR: '/srv/b' }, { TASKQUEUE_CLUSTER_DIR: '/srv/c' }].map(
      clusterSettings,
    )
    expect(new Set([a?.scope, b?.scope, c?.scope]).size).toBe(3)
    expect(new Set([a?.link, b?.link, c?.link]).size).toBe(3)
    // Linux takes no longer name for a network device.
    for (const each of [a, b, c]) expect(each?.link.length).toBeLessThanOrEqual(15)
  })

  it.each(['/', '/run/x', '/var/run', '/proc', '/sys/fs/x', '/dev/shm/x', '/var/log/x', '/tmp/../run'])(
    'refuses the folder %s',
    (folder) => {
      expect(() => clusterSettings({ TASKQUEUE_CLUSTER_DIR: folder })).toThrow(refused('TASKQUEUE_CLUSTER_DIR'))
    },
  )

  it.each(['/runner/x', '/srv/run', '/var/lib/x', '/devices'])('takes the folder %s', (folder) => {
    expect(clusterSettings({ TASKQUEUE_CLUSTER_DIR: folder }).folder).toBe(folder)
  })

  it.each(['10.0.0.0/8', '10.1.2.0/16', '300.1.0.0/16', '10.1.0.0', 'fd00::/64'])(
    'refuses the network %s',
    (network) => {
      expect(() => clusterSettings({ TASKQUEUE_CLUSTER_NETWORK: network })).toThrow(
        refused('TASKQUEUE_CLUSTER_NETWORK'),
      )
    },
  )

  it.each(['0', '201', '1.5', 'many'])('refuses %s volumes', (count) => {
    expect(() => clusterSettings({ TASKQUEUE_CLUSTER_VOLUMES: count })).toThrow(refused('TASKQUEUE_CLUSTER_VOLUMES'))
  })
})

describe('clusterKind', () => {
  it('is local unless said otherwise', () => {
    expect(clusterKind({})).toBe('local')
    expect(clusterKind({ CLUSTER: 'kind' })).toBe('kind')
    expect(() => clusterKind({ CLUSTER: 'minikube' })).toThrow(refused('CLUSTER'))
  })
})

describe('cacheFolder', () => {
  it('is what TASKQUEUE_CACHE says, else below the cache of the user', () => {
    expect(cacheFolder({ TASKQUEUE_CACHE: '/srv/cache', XDG_CACHE_HOME: '/x', HOME: '/h' })).toBe('/srv/cache')
    expect(cacheFolder({ XDG_CACHE_HOME: '/x', HOME: '/h' })).toBe('/x/taskqueue-operator')
    expect(cacheFolder({ HOME: '/h' })).toBe('/h/.cache/taskqueue-operator')
  })
})

describe('versions', () => {
  const goMod = (module: string) =>
    readFileSync(join(import.meta.dirname, '../../../deploy/local/binaries', module, 'go.mod'), 'utf8')

  it.each([
    ['cluster', `k8s.io/kubernetes v${versions.kubernetes}`],
    ['cluster', `go.etcd.io/etcd/server/v3 v${versions.etcd}`],
    ['cluster', `k8s.io/client-go => k8s.io/client-go v${versions.kubernetes.replace(/^1/, '0')}`],
    ['coredns', `github.com/coredns/coredns v${versions.coredns}`],
    ['helm', `helm.sh/helm/v4 v${versions.helm}`],
  ])('%s is built from %s', (module, line) => expect(goMod(module)).toContain(line))
})
