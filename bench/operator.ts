// What the operator costs and how fast it is, on a real API server (etcd without fsync, no kubelet, no controllers):
// `node bench/operator.ts create|idle|change|memory|restart|isolation|all [--queues 1000]`. It asserts nothing. Needs a build.
import { change } from './operator/change.ts'
import { create } from './operator/create.ts'
import { withFleet, type Fleet } from './operator/fleet.ts'
import { idle } from './operator/idle.ts'
import { isolation, ORDINARY } from './operator/isolation.ts'
import { memory } from './operator/memory.ts'
import { readOptions, type Options } from './operator/options.ts'
import { setReplicas } from './operator/queues.ts'
import { restart } from './operator/restart.ts'

type OnFleet = (fleet: Fleet, options: Options) => Promise<void>

/** On one fleet, in this order: what leaves it as it was goes before what changes it. */
const onFleet: Readonly<Record<string, OnFleet>> = { idle, restart, change, memory }

async function measure(options: Options): Promise<boolean> {
  setReplicas(options.replicas)
  const chosen = options.measurement.split(',')
  const wants = (name: string): boolean => chosen.includes(name) || chosen.includes('all')
  const some = Object.entries(onFleet).filter(([name]) => wants(name))
  if (wants('create')) await create(options)
  if (some.length > 0)
    await withFleet(options, options.queues, async (fleet) => {
      for (const [, work] of some) await work(fleet, options)
    })
  if (wants('isolation')) await withFleet(options, ORDINARY, (fleet) => isolation(fleet, options))
  return some.length > 0 || wants('create') || wants('isolation')
}

if (!(await measure(readOptions(process.argv.slice(2))))) {
  process.stderr.write(`say what to measure: create, ${Object.keys(onFleet).join(', ')}, isolation, or all\n`)
  process.exit(2)
}
// A profile of the operator is written by its end; nothing else is waited for.
process.exit(0)
