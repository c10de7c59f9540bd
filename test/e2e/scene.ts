// What the tests of this tier look at: objects and conditions in its namespace. For test files only; the set-up is cluster.ts.

import { inject } from 'vitest'
import { Kubectl } from '../../deploy/demo/kubectl.ts'
import type { Condition, LivePod } from '../../src/operator/objects.ts'
import type { TaskQueue } from '../../src/operator/taskqueue.ts'
import { eventually } from '../fixtures/eventually.ts'
import { NAMESPACE } from './cluster.ts'

export const kubectl = new Kubectl(inject('clusterEnv'))
export const inE2e = ['--namespace', NAMESPACE]

export const queue = (name: string): Promise<TaskQueue> => kubectl.json<TaskQueue>('get', 'taskqueue', name, ...inE2e)
/** A TaskQueue of this tier's namespace on the example's Node app and broker. */
export const ordersQueue = <Spec extends object>(name: string, spec: Spec) => ({
  apiVersion: 'taskqueue.dev/v1alpha1',
  kind: 'TaskQueue',
  metadata: { name, namespace: NAMESPACE },
  spec: {
    engine: 'Node',
    image: inject('ordersImage'),
    app: './tasks.ts',
    broker: { urlFrom: { secretKeyRef: { name: 'redis', key: 'url' } } },
    ...spec,
  },
})

export const pod = (name: string): Promise<LivePod> => kubectl.json<LivePod>('get', 'pod', name, ...inE2e)

/** Merges a change into the spec of a TaskQueue. */
export const patchSpec = (name: string, spec: object): Promise<string> =>
  kubectl.run('patch', 'taskqueue', name, ...inE2e, '--type=merge', `--patch=${JSON.stringify({ spec })}`)

/** The condition of a TaskQueue once it has the given status, and the reason if one is given. */
export async function condition(
  name: string,
  type: string,
  status: string,
  { deadlineMs = 60_000, reason }: { deadlineMs?: number; reason?: RegExp } = {},
): Promise<Condition> {
  return eventually(
    async () => {
      const found = (await queue(name)).status?.conditions?.find((c) => c.type === type)
      if (found?.status !== status || reason?.test(found.reason) === false)
        throw new Error(`${type} of ${name} is ${JSON.stringify(found)}`)
      return found
    },
    deadlineMs,
    250,
  )
}

/**
 * Lets the process of PID 1 end with 1, through the inspector that Node opens on SIGUSR1: a container's own init can't be killed from
 * within. Node waits at its end for a debugger to go, so this one goes.
 */
const EXIT_1 = `
process.kill(1, 'SIGUSR1')
const again = setInterval(async () => {
  const [target] = await fetch('http://127.0.0.1:9229/json/list').then((r) => r.json(), () => [])
  if (!target) return
  clearInterval(again)
  const inspector = new WebSocket(target.webSocketDebuggerUrl)
  const params = { expression: 'setTimeout(() => process.exit(1), 100)' }
  inspector.onopen = () => inspector.send(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params }))
  inspector.onmessage = () => process.exit(0)
}, 50)`

/** Ends the process of a container at once, in the middle of whatever it does; the kubelet starts it again. */
export async function crash(podName: string, container: string): Promise<void> {
  await kubectl.attempt('exec', podName, ...inE2e, '--container', container, '--', 'node', '-e', EXIT_1)
}
