// Set-up of the e2e tier: the real cluster, the project's images, the operator by Helm, and the examples in a namespace of the tier's
// own. A cluster that was up before stays up; one that was brought up for this is taken down again.

import type { ProvidedContext } from 'vitest'
import type { TestProject } from 'vitest/node'
import { diagnose } from '../../deploy/demo/diagnosis.ts'
import { example, installOperator, OPERATOR_NAMESPACE, RELEASE, waitReady } from '../../deploy/demo/install.ts'
import { Kubectl } from '../../deploy/demo/kubectl.ts'
import { deliverImages, operatorImage, projectImages, type ProjectImages } from '../../deploy/images.ts'
import { PREVIOUS_VERSION } from './previous.ts'
import { CLOCK_NAMESPACE, disciplineValues, timeServer } from './timeserver.ts'
import { clusterEnvironment, openCluster, type Cluster } from '../../deploy/local/cluster.ts'
import { describeFailure, Stages } from '../../deploy/local/stage.ts'

export const NAMESPACE = 'e2e'

declare module 'vitest' {
  export interface ProvidedContext {
    clusterEnv: { KUBECONFIG: string; PATH: string }
    operatorImage: string
    previousImage: string
    operatorValues: Record<string, unknown>
    ordersImage: string
    images: ProjectImages
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const stages = new Stages((line) => process.stdout.write(`${line}\n`))
  const cluster = await openCluster(stages)
  const wasUp = await isUp(cluster)
  let kubectl: Kubectl | undefined
  const leave = async (): Promise<void> => {
    if (!wasUp) await cluster.down()
    else if (kubectl) await stages.run(`remove namespace ${NAMESPACE}`, () => clean(kubectl as Kubectl))
  }
  try {
    await cluster.up()
    const env = await clusterEnvironment(cluster, stages)
    kubectl = new Kubectl(env)
    await prepare(project, cluster, env, kubectl, stages)
  } catch (error) {
    // vitest calls no tear-down after a set-up that failed.
    if (kubectl) for (const line of await diagnose(kubectl, NAMESPACE)) stages.note(line)
    await leave().catch((again: unknown) => stages.note(describeFailure(again)))
    throw error
  }
  return leave
}

async function prepare(
  project: TestProject,
  cluster: Cluster,
  env: ProvidedContext['clusterEnv'],
  kubectl: Kubectl,
  stages: Stages,
): Promise<void> {
  const previous = await operatorImage(stages, { version: PREVIOUS_VERSION })
  const images = await deliverImages({ ...(await projectImages(stages)), previous }, cluster, stages)
  const operatorValues = {
    ...disciplineValues(images.chronyd),
    helmTest: { broker: { urlFrom: { secretKeyRef: { name: 'helm-test', key: 'url' } } } },
  }
  await stages.run(`operator by helm into ${OPERATOR_NAMESPACE}`, async () => {
    await kubectl.apply(JSON.stringify({ apiVersion: 'v1', kind: 'List', items: timeServer(images.chronyd) }))
    await installOperator(kubectl, images.operator.reference, operatorValues)
    await kubectl.apply(JSON.stringify(helmTestSecret))
  })
  await stages.run(`examples in namespace ${NAMESPACE}`, async () => {
    await removeNamespace(kubectl)
    for (const name of ['redis', 'orders', 'reports'] as const) await kubectl.apply(inNamespace(example(name, images)))
    await waitReady(kubectl, 240, NAMESPACE)
  })
  project.provide('clusterEnv', env)
  project.provide('operatorImage', images.operator.reference)
  project.provide('previousImage', images.previous.reference)
  project.provide('operatorValues', operatorValues)
  project.provide('ordersImage', images.orders.reference)
  project.provide('images', images)
}

/** Of the broker of the examples, for the chart's own test. */
const helmTestSecret = {
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: 'helm-test', namespace: OPERATOR_NAMESPACE },
  stringData: { url: `redis://:demo-only@redis.${NAMESPACE}.svc:6379/0` },
}

async function isUp(cluster: Cluster): Promise<boolean> {
  const components = await cluster.status().catch(() => [])
  return components.length > 0 && components.every(({ healthy }) => healthy)
}

/** Of a cluster that stays up: without what this tier alone has need of. */
async function clean(kubectl: Kubectl): Promise<void> {
  await removeNamespace(kubectl)
  const [image] = (
    await kubectl.run('get', 'deployment', RELEASE, '-n', OPERATOR_NAMESPACE, '-o', 'jsonpath={..image}')
  ).split(' ')
  if (image) await installOperator(kubectl, image)
  await kubectl.wait(180, 'delete', 'namespace', CLOCK_NAMESPACE, '--ignore-not-found')
}

/** TaskQueues first, while their broker still answers: a Celery worker whose broker is gone takes its whole grace period to end. */
async function removeNamespace(kubectl: Kubectl): Promise<void> {
  await kubectl.attempt(
    'delete',
    'taskqueues',
    '--all',
    '--cascade=foreground',
    '--namespace',
    NAMESPACE,
    '--timeout=50s',
  )
  await kubectl.wait(180, 'delete', 'namespace', NAMESPACE, '--ignore-not-found')
}

/** A manifest of the examples, in this tier's namespace. */
export function inNamespace(manifest: string): string {
  return manifest
    .replaceAll('namespace: demo', `namespace: ${NAMESPACE}`)
    .replace('name: demo\n', `name: ${NAMESPACE}\n`)
}
