// The project's own command line, run inside of a pod of the TaskQueue: there the broker can be reached, with its password, and here neither has
// to be known. Whoever may `kubectl exec` into the pod may do what it does.

import { PluginError } from './errors.ts'
import type { Kubectl } from './kubectl.ts'
import type { Pod } from './shapes.ts'

const COMMAND = '/opt/taskqueue/node_modules/.bin/taskqueue'
export const SCHEDULES = '/etc/taskqueue/schedules/schedules.yaml'

const selector = (name: string): string => `taskqueue.dev/taskqueue=${name}`

export async function podsOf(kubectl: Kubectl, name: string, component?: 'worker' | 'beat'): Promise<readonly Pod[]> {
  const labels = component === undefined ? selector(name) : `${selector(name)},app.kubernetes.io/component=${component}`
  return (await kubectl.json<{ items: readonly Pod[] }>('get', 'pods', '--selector', labels)).items
}

/** A container that has the command line and runs: a companion's, or a declared beat's. */
function containerIn({ spec, status, metadata }: Pod): string | undefined {
  if (metadata.deletionTimestamp !== undefined || status?.phase !== 'Running') return undefined
  return (spec.initContainers ?? []).some(({ name }) => name === 'companion') ? 'companion' : undefined
}

/**
 * Runs `taskqueue ...` in a pod of the TaskQueue.
 * @param beat whether it has to be the declared beat's, which has the schedules
 * @returns its exit code
 * @throws PluginError `NothingRuns`
 */
export async function runInside(
  kubectl: Kubectl,
  name: string,
  args: readonly string[],
  beat = false,
): Promise<number> {
  const pods = await podsOf(kubectl, name, beat ? 'beat' : undefined)
  for (const pod of pods) {
    const container = beat && pod.status?.phase === 'Running' ? 'beat' : containerIn(pod)
    if (container !== undefined)
      return kubectl.hand('exec', pod.metadata.name, '--container', container, '--', COMMAND, ...args)
  }
  throw new PluginError(
    'NothingRuns',
    beat
      ? `TaskQueue ${name} has no declared beat that runs: only that knows its schedules.`
      : `TaskQueue ${name} has no pod with a companion that runs: is it suspended, or spec.clockSync.mode Off? Start one, or run taskqueue where the broker can be reached.`,
  )
}
