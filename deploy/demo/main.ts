// `make demo`: from nothing to finished jobs on a real cluster, a progress line for each stage. It can be run again at any time, also
// after it was killed half-way; the cluster stays up afterwards.

import { TaskApp } from '@taskqueue/runtime'
import { deliverImages, projectImages } from '../images.ts'
import { clusterEnvironment, openCluster } from '../local/cluster.ts'
import { endRunningCommands } from '../local/command.ts'
import { waitUntil } from '../local/processes.ts'
import { describeFailure, Stages } from '../local/stage.ts'
import { finish, send, type Batch } from './batch.ts'
import { diagnose } from './diagnosis.ts'
import { applyExamples, DEMO_NAMESPACE, installOperator, OPERATOR_NAMESPACE, waitReady } from './install.ts'
import { Kubectl } from './kubectl.ts'
import { PortForward } from './portforward.ts'

const say = (line: string): void => {
  process.stdout.write(`${line}\n`)
}
const ORDERS_WORKERS = 'taskqueue.dev/taskqueue=orders,taskqueue.dev/pool=default'
const stages = new Stages(say)
/** Set once there is a cluster to look at when something fails. */
let reachable: Kubectl | undefined

async function demo(): Promise<void> {
  const cluster = await openCluster(stages)
  await cluster.up()
  const kubectl = new Kubectl(await clusterEnvironment(cluster, stages))
  reachable = kubectl
  const images = await deliverImages(await projectImages(stages), cluster, stages)

  await stages.run(`helm upgrade --install of charts/taskqueue-operator into ${OPERATOR_NAMESPACE}`, () =>
    installOperator(kubectl, images.operator.reference),
  )
  await stages.run('kubectl apply of deploy/examples/redis.yaml, orders.yaml and reports.yaml', () =>
    applyExamples(kubectl, images),
  )
  await stages.run('wait until Redis and both TaskQueues are ready', () => waitReady(kubectl, 240))

  const forward = await PortForward.open(kubectl, DEMO_NAMESPACE, 'service/redis', 6379)
  const app = new TaskApp({ name: 'demo', brokerUrl: `redis://:demo-only@127.0.0.1:${forward.port}/0` })
  try {
    await runJobs(kubectl, app)
  } finally {
    await app.close()
    forward.close()
  }
  await show(kubectl)
}

async function runJobs(kubectl: Kubectl, app: TaskApp): Promise<void> {
  await stages.run('200 jobs for the Node workers', async () => {
    await allDone(await send(app, 'orders.charge', 200, (i) => [`order-${i}`], 'orders'))
  })
  await stages.run('20 jobs for the Python Celery worker, sent by this Node producer', async () => {
    await allDone(await send(app, 'reports.build', 20, (i) => [`report-${i}`], 'celery'))
  })
  await stages.run('a slot of the schedule "sweep", fired by beat and run by a worker', () => sweepSeen(kubectl))
  await stages.run('200 jobs, and a worker pod deleted in the middle of them', async () => {
    // Some take longer than a deleted pod has left, so that it dies with jobs in its hands.
    const batch = await send(
      app,
      'orders.charge',
      200,
      (i) => [`order-${i}`, { millis: i % 10 === 0 ? 5000 : 200 }],
      'orders',
    )
    const pod = await someWorker(kubectl)
    say(`    deleting pod ${pod} without a grace period`)
    await kubectl.run('delete', 'pod', pod, '--namespace', DEMO_NAMESPACE, '--grace-period=0', '--force')
    await allDone(batch)
  })
  await stages.run('wait until the deleted worker is replaced', () => waitReady(kubectl, 120))
}

/** @throws Error naming the first jobs that failed */
async function allDone(batch: Batch): Promise<void> {
  const { done, seconds, failures, redelivered } = await finish(batch, 120, say)
  if (failures.length > 0)
    throw new Error(`${failures.length} of ${batch.results.length} jobs failed:\n${failures.slice(0, 5).join('\n')}`)
  const again = redelivered > 0 ? `; ${redelivered} of them a second time, since their first worker was lost` : ''
  say(`    all ${done} finished in ${seconds.toFixed(1)} s${again}`)
}

async function someWorker(kubectl: Kubectl): Promise<string> {
  const running = ['--field-selector', 'status.phase=Running', '--output', 'jsonpath={.items[0].metadata.name}']
  return kubectl.run('get', 'pods', '--namespace', DEMO_NAMESPACE, '--selector', ORDERS_WORKERS, ...running)
}

/** Waits for the line that the task logs, in a worker that began after now. */
async function sweepSeen(kubectl: Kubectl): Promise<void> {
  const logs = [
    'logs',
    '--namespace',
    DEMO_NAMESPACE,
    '--selector',
    ORDERS_WORKERS,
    '--container',
    'worker',
    '--tail=-1',
  ]
  const since = ['--since-time', new Date().toISOString()]
  const seen = await waitUntil(
    async () => {
      const lines = (await kubectl.attempt(...logs, ...since)).stdout.split('\n')
      const line = lines.find((text) => text.includes('swept abandoned carts'))
      if (line !== undefined) say(`    ${line}`)
      return line !== undefined
    },
    60,
    0.5,
  )
  if (!seen) throw new Error('No worker ran carts.sweep within 60 s: beat should send it every 5 s.')
}

async function show(kubectl: Kubectl): Promise<void> {
  // The operator looks at the broker every few seconds: let the table show the end of it.
  await kubectl.wait(
    30,
    'wait',
    'taskqueue/orders',
    '--for=jsonpath={.status.backlog}=0',
    '--namespace',
    DEMO_NAMESPACE,
  )
  say('')
  for (const kind of ['taskqueues', 'pods']) {
    say(`$ kubectl get ${kind} --namespace ${DEMO_NAMESPACE}`)
    say(await kubectl.run('get', kind, '--namespace', DEMO_NAMESPACE))
  }
  say(`What to try next, after  eval "$(make -s cluster-env)":
  kubectl -n demo describe taskqueue orders          # conditions and Events
  kubectl -n demo delete pod orders-beat             # it is made anew, once
  kubectl -n demo patch tq orders --type merge -p '{"spec":{"suspend":true}}'
  kubectl -n demo logs -l taskqueue.dev/taskqueue=orders -c worker --tail 5
  kubectl explain taskqueue.spec.workers
  make cluster-down                                  # and nothing is left behind`)
}

async function fail(error: unknown): Promise<void> {
  process.stderr.write(`\nThe demo failed. ${describeFailure(error)}\n`)
  if (reachable) for (const line of await diagnose(reachable)) process.stderr.write(`${line}\n`)
  process.exit(1)
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    endRunningCommands()
    process.stderr.write(`\nInterrupted. Run make demo again to go on, or make cluster-down to remove the cluster.\n`)
    process.exit(130)
  })
}
demo().then(() => process.exit(0), fail)
