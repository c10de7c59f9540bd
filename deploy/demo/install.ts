// Installs the operator by Helm and applies the examples, with images built here. Shared by the demo and the e2e tests.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ProjectImages } from '../images.ts'
import type { Kubectl } from './kubectl.ts'

const root = join(import.meta.dirname, '../..')
export const CHART = join(root, 'charts/taskqueue-operator')
export const RELEASE = 'taskqueue-operator'
export const OPERATOR_NAMESPACE = 'taskqueue-system'
export const DEMO_NAMESPACE = 'demo'

/**
 * `helm upgrade --install`, which is also right when an earlier run was killed half-way. Waits until the operator is ready.
 * @param more values of the chart, by their name at the top
 * @param chart its folder, when it is not this checkout's
 */
export async function installOperator(
  kubectl: Kubectl,
  image: string,
  more: Readonly<Record<string, unknown>> = {},
  chart = CHART,
): Promise<void> {
  await clearPendingRelease(kubectl)
  const colon = image.lastIndexOf(':')
  const values = [`image.repository=${image.slice(0, colon)}`, `image.tag=${image.slice(colon + 1)}`]
  const where = ['--namespace', OPERATOR_NAMESPACE, '--create-namespace', '--wait', '--timeout', '180s']
  await kubectl.helm(
    'upgrade',
    '--install',
    RELEASE,
    chart,
    ...where,
    ...values.flatMap((value) => ['--set-string', value]),
    ...Object.entries(more).flatMap(([name, value]) => ['--set-json', `${name}=${JSON.stringify(value)}`]),
  )
  await kubectl.run(
    'label',
    '--overwrite',
    'namespace',
    OPERATOR_NAMESPACE,
    'pod-security.kubernetes.io/enforce=restricted',
  )
}

/** A Helm that was killed leaves its release pending, and every later one refuses: that revision is removed. */
async function clearPendingRelease(kubectl: Kubectl): Promise<void> {
  const selector = `owner=helm,name=${RELEASE},status in (pending-install,pending-upgrade,pending-rollback)`
  await kubectl.attempt(
    '--namespace',
    OPERATOR_NAMESPACE,
    'delete',
    'secret',
    '--selector',
    selector,
    '--ignore-not-found',
  )
}

/** An example's YAML with the images that were built here in the place of `taskqueue.local/<name>:dev`. */
export function example(
  name: 'redis' | 'orders' | 'reports' | 'timers' | 'shop/taskqueue' | 'mixed/taskqueue',
  images: ProjectImages,
): string {
  const text = readFileSync(join(root, 'deploy/examples', `${name}.yaml`), 'utf8')
  return text
    .replaceAll('taskqueue.local/example-orders:dev', images.orders.reference)
    .replaceAll('taskqueue.local/example-shop:dev', images.shop.reference)
    .replaceAll('taskqueue.local/example-reports:dev', images.reports.reference)
    .replaceAll('taskqueue.local/example-mixed-node:dev', images.mixedNode.reference)
    .replaceAll('taskqueue.local/example-mixed-python:dev', images.mixedPython.reference)
    .replaceAll('taskqueue.local/example-redis:dev', images.redis.reference)
}

export async function applyExamples(kubectl: Kubectl, images: ProjectImages): Promise<void> {
  for (const name of ['redis', 'orders', 'reports'] as const) await kubectl.apply(example(name, images))
}

/** Waits until Redis and both TaskQueues are ready for the spec that they have now. */
export async function waitReady(kubectl: Kubectl, seconds: number, namespace = DEMO_NAMESPACE): Promise<void> {
  const within = ['--namespace', namespace]
  await kubectl.wait(seconds, 'rollout', 'status', 'deployment/redis', ...within)
  await kubectl.wait(seconds, 'wait', 'taskqueue/orders', 'taskqueue/reports', '--for=condition=Ready', ...within)
}
