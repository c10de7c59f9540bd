// One spec change, from the answer to the user's PATCH to the event of the Deployment that the operator patched, while others change.
import { setTimeout as delay } from 'node:timers/promises'
import type { KubeClient } from '../../src/operator/kube/client.ts'
import { deployments, taskQueues } from '../../src/operator/kube/resources.ts'
import { say, spread } from './figures.ts'
import { OPERATOR, type Fleet } from './fleet.ts'
import { tally } from './audit.ts'
import { MachineTime } from './machine.ts'
import type { Options } from './options.ts'
import { atOnce } from '../../src/operator/atonce.ts'
import { NAMESPACE } from './plane.ts'
import { nameOf, poolNames, workersOf } from './queues.ts'
import { DeploymentWatch } from './rollouts.ts'

let images = 0

export async function change(fleet: Fleet, options: Options): Promise<void> {
  for (const seconds of options.overSeconds) await changeOver(fleet, options, seconds)
}

async function changeOver({ plane, operator }: Fleet, options: Options, overSeconds: number): Promise<void> {
  const { queues, samples } = options
  const others = Math.min(options.others, queues - 1)
  const watch = await DeploymentWatch.open(plane)
  const [one, all]: [number[], number[]] = [[], []]
  const [from, spent, time] = [Date.now(), operator.program.cpuSeconds(), new MachineTime()]
  const passes = await operator.metric('taskqueue_operator_reconciles_total')
  try {
    for (let sample = 0; sample < samples; sample++) {
      const names = Array.from({ length: others + 1 }, (_, i) => nameOf((sample * (others + 1) + i) % queues))
      // Anywhere in the crowd, not at its head.
      const probe = names[(sample * 37) % names.length] ?? ''
      const took = new Map<string, number>()
      await atOnce([...names.entries()], names.length, async ([at, name]) => {
        await delay((at / names.length) * overSeconds * 1000)
        took.set(name, await timed(plane.client, watch, name))
      })
      one.push(took.get(probe) ?? NaN)
      all.push(...took.values())
    }
  } finally {
    watch.close()
  }
  const machine = String(time)
  const looks = (await operator.metric('taskqueue_operator_reconciles_total')) - passes
  const each = (value: number): string => (value / all.length).toFixed(2)
  const cpuMs = (operator.program.cpuSeconds() - spent) * 1000
  const asked = (await plane.audit.requests(from)).filter(({ user }) => user === OPERATOR)
  const when = overSeconds === 0 ? 'at the same moment' : `within ${overSeconds} s`
  say(`change: the image of one pool, while ${others} other TaskQueues of ${queues} change ${when}`)
  say(`  the one: ${spread(one)} (wanted: p99 < 500 ms)`)
  say(`  each of them all: ${spread(all)}`)
  say(`  of the operator a change: ${each(cpuMs)} ms of CPU, ${each(looks)} reconciles; asked in all: ${tally(asked)}`)
  say(`  ${machine}`)
}

/** Changes the image of the first pool; milliseconds from the answer until its Deployment is seen changed. */
export async function timed(client: KubeClient, watch: DeploymentWatch, name: string): Promise<number> {
  const deployment = `${name}-${poolNames[0]}`
  const known = watch.generation(deployment)
  const before = known > 0 ? known : await generationOf(client, deployment)
  const seen = watch.beyond(deployment, before)
  const workers = workersOf(name, `registry.example/app:${++images + 1}`)
  await client.mergePatch(taskQueues, NAMESPACE, name, { spec: { workers } }, 'bench')
  const from = performance.now()
  return (await seen) - from
}

async function generationOf(client: KubeClient, deployment: string): Promise<number> {
  return (await client.get(deployments, NAMESPACE, deployment))?.metadata.generation ?? 0
}
