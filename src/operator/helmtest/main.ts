// What `helm test` runs in a pod of its own: makes a TaskQueue whose workers run this very image, waits until it is ready, has a job done, and
// deletes it again. It exits with 1 and a sentence when any of that does not come about.

import { TaskApp } from '@taskqueue/runtime'
import { systemClock } from '../clock.ts'
import { messageOf, OperatorError } from '../errors.ts'
import { KubeClient } from '../kube/client.ts'
import { taskQueues } from '../kube/resources.ts'
import type { KubeObject } from '../objects.ts'
import type { TaskQueue } from '../taskqueue.ts'
import { ECHO } from './app.ts'

const READY_SECONDS = 180
const JOB_SECONDS = 60

interface Asked {
  readonly namespace: string
  readonly name: string
  readonly image: string
  readonly brokerUrl: string
}

function asked(env: NodeJS.ProcessEnv): Asked {
  const need = (name: string, why: string): string => {
    const value = env[name] ?? ''
    if (value === '') throw new OperatorError('SettingInvalid', why)
    return value
  }
  return {
    namespace: need('HELM_TEST_NAMESPACE', 'HELM_TEST_NAMESPACE is not set.'),
    name: need('HELM_TEST_NAME', 'HELM_TEST_NAME is not set.'),
    image: need('TASKQUEUE_OPERATOR_IMAGE', 'TASKQUEUE_OPERATOR_IMAGE is not set.'),
    brokerUrl: need(
      'HELM_TEST_BROKER_URL',
      'helmTest.brokerUrl is not set: give the URL of a Redis that this cluster reaches, for example redis://redis.demo.svc:6379/0.',
    ),
  }
}

function written({ namespace, name, image, brokerUrl }: Asked): KubeObject {
  return {
    apiVersion: taskQueues.apiVersion,
    kind: taskQueues.kind,
    metadata: { name, namespace },
    spec: {
      engine: 'Node',
      image,
      imagePullPolicy: 'IfNotPresent',
      app: '/opt/taskqueue/src/operator/dist/helmtest/app.js',
      broker: { url: brokerUrl },
      taskDefaults: { queue: name },
      workers: [{ name: 'default', replicas: 1, concurrency: 1, maxTaskSeconds: 30 }],
      podTemplate: {
        spec: { containers: [{ name: 'worker', command: ['/opt/taskqueue/node_modules/.bin/taskqueue', 'worker'] }] },
      },
    },
  } as KubeObject
}

async function whenReady(client: KubeClient, { namespace, name }: Asked): Promise<void> {
  const deadline = performance.now() + READY_SECONDS * 1000
  for (;;) {
    const queue = await client.get<TaskQueue>(taskQueues, namespace, name)
    const ready = queue?.status?.conditions?.find(({ type }) => type === 'Ready')
    if (ready?.status === 'True') return
    if (performance.now() > deadline)
      throw new Error(
        `the TaskQueue is not ready after ${READY_SECONDS} s: ${ready?.message ?? 'the operator has said nothing'}`,
      )
    await systemClock.sleep(1000)
  }
}

async function main(): Promise<void> {
  const wanted = asked(process.env)
  const client = await KubeClient.fromEnvironment(process.env, systemClock)
  const { namespace, name, brokerUrl } = wanted
  const app = new TaskApp({ name: 'helm-test', brokerUrl, defaultQueue: name, env: {} })
  try {
    await client.create(written(wanted), 'taskqueue-helm-test')
    process.stdout.write(`TaskQueue ${namespace}/${name} is made\n`)
    await whenReady(client, wanted)
    process.stdout.write('it is ready\n')
    const text = `hello from ${name}`
    const answer = await (await app.send(ECHO, [text])).get({ timeoutSeconds: JOB_SECONDS })
    if (answer !== text) throw new Error(`the job returned ${JSON.stringify(answer)}`)
    process.stdout.write('it ran a job\n')
  } finally {
    await app.close()
    await client.delete(taskQueues, namespace, name)
    client.close()
  }
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`${messageOf(error)}\n`)
    process.exit(1)
  },
)
