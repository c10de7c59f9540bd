// Runs a web server in several processes on one port, by node:cluster: `node primary.ts [server file]`, the Fastify example by default.
// It only forks, replaces and ends them: that each slot runs once is up to the store their Schedulers share.
import cluster from 'node:cluster'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'

const { WEB_PROCESSES: processes = String(availableParallelism()) } = process.env
const [, , server = fileURLToPath(new URL('../scheduler-fastify/server.ts', import.meta.url))] = process.argv
let stopping = false

cluster.setupPrimary({ exec: server })
for (let i = 0; i < Number(processes); i++) fork()
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stop)

function fork(): void {
  const worker = cluster.fork()
  let served = false
  worker.once('listening', () => (served = true))
  worker.once('exit', (_code, signal) => {
    if (stopping) return
    if (served || signal) fork()
    else {
      // One that fails before it serves would fail again, without end: whoever keeps this process decides.
      process.exitCode = 1
      stop()
    }
  })
}

/** Each process ends its runs and its requests; this one ends after the last of them. */
function stop(): void {
  stopping = true
  for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill('SIGTERM')
}
