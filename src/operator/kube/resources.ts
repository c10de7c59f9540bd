// The kinds that the operator touches and their paths in the API. Not a discovery client: the list is closed on purpose,
// and equals what the chart's RBAC grants.

export interface Resource {
  readonly kind: string
  readonly apiVersion: string
  readonly plural: string
}

export const taskQueues: Resource = { kind: 'TaskQueue', apiVersion: 'taskqueue.dev/v1alpha1', plural: 'taskqueues' }
export const deployments: Resource = { kind: 'Deployment', apiVersion: 'apps/v1', plural: 'deployments' }
export const pods: Resource = { kind: 'Pod', apiVersion: 'v1', plural: 'pods' }
export const configMaps: Resource = { kind: 'ConfigMap', apiVersion: 'v1', plural: 'configmaps' }
export const volumeClaims: Resource = {
  kind: 'PersistentVolumeClaim',
  apiVersion: 'v1',
  plural: 'persistentvolumeclaims',
}
export const serviceAccounts: Resource = { kind: 'ServiceAccount', apiVersion: 'v1', plural: 'serviceaccounts' }
export const services: Resource = { kind: 'Service', apiVersion: 'v1', plural: 'services' }
export const disruptionBudgets: Resource = {
  kind: 'PodDisruptionBudget',
  apiVersion: 'policy/v1',
  plural: 'poddisruptionbudgets',
}
export const networkPolicies: Resource = {
  kind: 'NetworkPolicy',
  apiVersion: 'networking.k8s.io/v1',
  plural: 'networkpolicies',
}
/** Of the Prometheus operator, which a cluster may not have. */
export const podMonitors: Resource = {
  kind: 'PodMonitor',
  apiVersion: 'monitoring.coreos.com/v1',
  plural: 'podmonitors',
}
/** What stands beside the pods, PodMonitors apart. */
export const supportKinds = [serviceAccounts, services, disruptionBudgets, networkPolicies] as const
export const secrets: Resource = { kind: 'Secret', apiVersion: 'v1', plural: 'secrets' }
export const events: Resource = { kind: 'Event', apiVersion: 'v1', plural: 'events' }
export const leases: Resource = { kind: 'Lease', apiVersion: 'coordination.k8s.io/v1', plural: 'leases' }

const byKind = new Map(
  [taskQueues, deployments, pods, configMaps, volumeClaims, ...supportKinds, podMonitors, secrets, events, leases].map(
    (r) => [r.kind, r],
  ),
)

/** The resource of a kind that the operator knows. Throws a RangeError for any other: that is a mistake in the code. */
export function resourceOf(kind: string): Resource {
  const resource = byKind.get(kind)
  if (resource === undefined) throw new RangeError(`The operator does not handle objects of kind ${kind}.`)
  return resource
}

/** Where the kinds of an API's version are. */
export function apiRoot({ apiVersion }: Pick<Resource, 'apiVersion'>): string {
  return apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
}

/** The path of a collection or, with a name, of one object, and of its subresource. */
export function pathOf(resource: Resource, namespace?: string, name?: string, subresource?: string): string {
  const parts = [apiRoot(resource)]
  if (namespace !== undefined && namespace !== '') parts.push('namespaces', encodeURIComponent(namespace))
  parts.push(resource.plural)
  if (name !== undefined) parts.push(encodeURIComponent(name))
  if (subresource !== undefined) parts.push(subresource)
  return parts.join('/')
}
