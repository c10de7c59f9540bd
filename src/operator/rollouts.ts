// Which Deployments still replace pods. Remembers the template that each one's controller has last seen: a generation that it has not
// seen may be a new template, or only a new number of pods, which replaces nothing.

import type { LiveDeployment, ObjectKey } from './objects.ts'

export class Rollouts {
  readonly #seen = new Map<ObjectKey, Map<string, string>>()

  /** The names of those of a TaskQueue's Deployments that are rolling. */
  rolling(key: ObjectKey, deployments: readonly LiveDeployment[]): Set<string> {
    const before = this.#seen.get(key)
    const seen = new Map<string, string>()
    const rolling = new Set<string>()
    for (const deployment of deployments) {
      const { name } = deployment.metadata
      const template = JSON.stringify(deployment.spec.template)
      const known = before?.get(name)
      const current = isSeen(deployment)
      const last = current ? template : known
      if (last !== undefined) seen.set(name, last)
      if (current ? replaces(deployment) : known !== template) rolling.add(name)
    }
    this.#seen.set(key, seen)
    return rolling
  }

  forget(key: ObjectKey): void {
    this.#seen.delete(key)
  }
}

/** Whether its controller has seen its newest generation. */
function isSeen({ metadata, status }: LiveDeployment): boolean {
  return (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0)
}

/** Whether old pods are left, or new ones are not made yet. */
function replaces({ spec, status }: LiveDeployment): boolean {
  const updated = status?.updatedReplicas ?? 0
  return updated < (spec.replicas ?? 1) || (status?.replicas ?? 0) > updated
}
