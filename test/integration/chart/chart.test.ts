// The chart: what each of its switches makes, as files to be read in a review; that a real API server takes it all; and what it refuses.

import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureBinary } from '../../../deploy/local/binaries.ts'
import { attempt, run } from '../../../deploy/local/command.ts'
import { Stages } from '../../../deploy/local/stage.ts'
import { parseAllDocuments } from 'yaml'
import { ControlPlane, podMonitorCrd } from '../../fixtures/controlplane.ts'

const CHART = join(import.meta.dirname, '../../../charts/taskqueue-operator')
const NAMESPACE = 'taskqueue-system'

/** By the name of its snapshot. Each is the default but for what it is about. */
const switches: Readonly<Record<string, object>> = {
  default: {},
  'one-replica': { replicas: 1 },
  'listed-namespaces': { watchNamespaces: ['demo', 'shop'] },
  'image-by-digest': {
    image: { repository: 'registry.example/op', digest: `sha256:${'0123456789abcdef'.repeat(4)}` },
    imagePullSecrets: [{ name: 'pull' }],
  },
  'service-account': { serviceAccount: { create: false, name: 'mine' } },
  'service-account-annotations': { serviceAccount: { name: 'named', annotations: { 'example.com/role': 'op' } } },
  monitoring: {
    monitoring: {
      podMonitor: { enabled: true, interval: '15s', labels: { release: 'prometheus' } },
      prometheusRule: {
        enabled: true,
        labels: { release: 'prometheus' },
        runbookBaseUrl: 'https://docs.example/runbooks',
      },
      dashboard: { enabled: true, annotations: { grafana_folder: 'Work' } },
    },
  },
  'network-policy': {
    networkPolicy: { enabled: true, metricsFrom: [{ namespaceSelector: { matchLabels: { name: 'monitoring' } } }] },
  },
  scheduling: {
    nodeSelector: { disk: 'ssd' },
    tolerations: [{ key: 'dedicated', operator: 'Exists' }],
    affinity: { nodeAffinity: {} },
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: 'topology.kubernetes.io/zone',
        whenUnsatisfiable: 'ScheduleAnyway',
        labelSelector: { matchLabels: { 'app.kubernetes.io/name': 'taskqueue-operator' } },
      },
    ],
    priorityClassName: 'system-cluster-critical',
    podAnnotations: { note: 'a' },
    podLabels: { team: 'platform' },
    extraEnv: [{ name: 'HTTPS_PROXY', value: 'http://proxy.example:3128' }],
    resources: { requests: { cpu: '1' } },
  },
  discipline: {
    policy: { allowDiscipline: true, allowPrivilegedPods: true },
    discipline: { servers: ['ntp.example'], namespace: 'clocks' },
  },
  'without-budget': { podDisruptionBudget: { enabled: false } },
}

/** What the tests look at of an object of the chart. */
interface Rendered {
  readonly kind: string
  readonly metadata: { readonly name: string; readonly labels: Record<string, string> }
  readonly spec?: {
    readonly selector?: { readonly matchLabels?: Record<string, string> }
    readonly template?: { readonly metadata: { readonly labels: Record<string, string> } }
  }
}

let plane: ControlPlane
let helm: string

beforeAll(async () => {
  const quiet = new Stages(() => undefined)
  helm = join(await ensureBinary('helm', quiet), 'helm')
  plane = await ControlPlane.start()
  const rules = structuredClone(podMonitorCrd)
  rules.metadata.name = 'prometheusrules.monitoring.coreos.com'
  rules.spec.names = { kind: 'PrometheusRule', plural: 'prometheusrules' }
  for (const crd of [podMonitorCrd, rules])
    await plane.client.json('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', { body: crd })
  for (const name of [NAMESPACE, 'shop', 'clocks'])
    await plane.client.json('POST', '/api/v1/namespaces', {
      body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name } },
    })
})
afterAll(() => plane.stop())

function template(values: object, ...more: string[]): ReturnType<typeof attempt> {
  const args = ['template', 'taskqueue-operator', CHART, '--namespace', NAMESPACE, '--values', '-', ...more]
  return attempt(helm, args, { input: JSON.stringify(values) })
}

async function rendered(values: object, ...more: string[]): Promise<string> {
  const { status, stdout, stderr } = await template(values, ...more)
  expect(stderr).toBe('')
  expect(status).toBe(0)
  return stdout
}

describe('the chart', () => {
  it('has nothing that `helm lint --strict` finds', async () => {
    expect(await run(helm, ['lint', '--strict', CHART])).toContain('0 chart(s) failed')
  })

  it.each(Object.entries(switches))('with %s makes what is written down', async (name, values) => {
    // The CRD is the same in all, and has its own tests.
    const text = await rendered({ ...values, crds: { install: false } })
    await expect(text).toMatchFileSnapshot(`snapshots/${name}.yaml`)
  })

  it.each(Object.entries(switches))('with %s is taken by a real API server, field by field', async (_, values) => {
    // The pod of `helm test` needs its account to be there; e2e runs it.
    const text = await rendered(values, '--skip-tests')
    const { status, stderr } = await plane.dryRun(text)
    expect(stderr).toBe('')
    expect(status).toBe(0)
  })

  it('selects by its labels no pod but those of the operator', async () => {
    const text = await rendered({ ...switches['discipline'], crds: { install: false } })
    const labels: Record<string, Record<string, string>> = {}
    let selector: Record<string, string> = {}
    for (const document of parseAllDocuments(text)) {
      const object = document.toJS() as Rendered
      const { kind, metadata, spec } = object
      if (kind === 'Pod') labels[metadata.name] = metadata.labels
      else if (spec?.template) labels[metadata.name] = spec.template.metadata.labels
      if (kind === 'PodDisruptionBudget') selector = spec?.selector?.matchLabels ?? {}
    }
    const selected = Object.entries(labels).filter(([, has]) =>
      Object.entries(selector).every(([k, v]) => has[k] === v),
    )
    expect(Object.keys(labels)).toHaveLength(3)
    expect(selected.map(([name]) => name)).toEqual(['taskqueue-operator'])
  })

  it.each([
    ['a value that it does not know', { replica: 3 }, /replica/],
    ['a number of replicas that is none', { replicas: 'two' }, /replicas/],
    ['a digest that is none', { image: { digest: 'sha256:abc' } }, /digest/],
    ['a level that the log has not', { logLevel: 'loud' }, /logLevel/],
    ['an account that is used and not named', { serviceAccount: { create: false } }, /serviceAccount\.name must say/],
    ['discipline without servers', { policy: { allowDiscipline: true } }, /needs discipline\.servers/],
    ['a variable without a name', { extraEnv: [{ value: 'x' }] }, /extraEnv/],
    [
      'a base of runbooks that is no URL',
      { monitoring: { prometheusRule: { runbookBaseUrl: 'docs' } } },
      /runbookBaseUrl/,
    ],
  ])('refuses %s, and says which', async (_, values, message) => {
    const { status, stderr } = await template(values)
    expect(status).not.toBe(0)
    expect(stderr).toMatch(message)
  })
})
