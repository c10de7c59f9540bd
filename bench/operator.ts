// What the operator costs and how fast it is, on a real API server (etcd without fsync, no kubelet, no controllers):
// `node bench/operator.ts create|idle|change|memory|restart|isolation|all [--queues 1000]`. It asserts nothing. Needs a build.
import { create } from './operator/create.ts'
import { readOptions, type Options } from './operator/options.ts'

const measurements: Readonly<Record<string, (options: Options) => Promise<void>>> = { create }

const options = readOptions(process.argv.slice(2))
const measure = measurements[options.measurement]
if (!measure) {
  process.stderr.write(`say what to measure: ${Object.keys(measurements).join(', ')}\n`)
  process.exit(2)
}
await measure(options)
process.exit(0)
