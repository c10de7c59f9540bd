// What one TaskQueue in trouble costs the others: a spec change of an ordinary one is timed with and without huge ones, one whose every
// write fails, and one whose broker takes connections and never answers.
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { KubeClient } from '../../src/operator/kube/client.ts'
import { taskQueues } from '../../src/operator/kube/resources.ts'
import { labelKeys } from '../../src/operator/desired/names.ts'
import { freePort } from '../../test/fixtures/redis-server.ts'
import { tally } from './audit.ts'
import { timed } from './change.ts'
import { percentile, say, spread } from './figures.ts'
import { OPERATOR, type Fleet } from './fleet.ts'
import type { Options } from './options.ts'
import { NAMESPACE } from './plane.ts'
import { nameOf, taskQueue } from './queues.ts'
import { DeploymentWatch } from './rollouts.ts'

export const ORDINARY = 100
/** 100 pools, as two TaskQueues: the CRD allows fifty in one. */
const HUGE = ['huge-a', 'huge-b'] as const
const POOLS = 50

export async function isolation({ plane, redis, operator }: Fleet, { samples }: Options): Promise<void> {
  const { client } = plane
  const watch = await DeploymentWatch.open(plane)
  const silent = await startSilent()
  try {
    say(`isolation: ${ORDINARY} ordinary TaskQueues, one changes at a time`)
    const alone = await series(samples, client, watch)
    say(`  alone: ${spread(alone)}`)
    const from = Date.now()
    await refuseWritesOf(client, 'failing', await freePort())
    for (const name of HUGE) await client.create(taskQueue(name, redis.url, { workers: pools(0) }), 'bench')
    await client.create(taskQueue('failing', redis.url), 'bench')
    await client.create(taskQueue('hanging', silent.url), 'bench')
    // From the very first: while the huge ones' children are being made.
    const making = await series(samples, client, watch)
    say(`  while the huge ones are made: ${spread(making)}`)
    const beside = await series(samples, client, watch, (sample) => stir(client, sample))
    say(`  while all of them change with each sample: ${spread(beside)}`)
    const worst = Math.max(...making, ...beside) - percentile(alone, 0.5)
    say(`  the worst is ${worst.toFixed(0)} ms beyond the median alone (wanted <= 1000 ms)`)
    const asked = (await plane.audit.requests(from)).filter(({ user }) => user === OPERATOR)
    const about = (name: string): string => tally(asked.filter((each) => each.name.startsWith(name)))
    say(`  asked about the huge ones: ${about('huge')}`)
    say(`  asked about the failing one: ${about('failing')}`)
    say(`  failed reconciles: ${operator.program.said().split('Reconcile failed').length - 1}`)
  } finally {
    watch.close()
    await silent.close()
  }
}

async function series(
  samples: number,
  client: KubeClient,
  watch: DeploymentWatch,
  stirred: (sample: number) => Promise<void> = () => Promise.resolve(),
): Promise<number[]> {
  const took: number[] = []
  for (let sample = 0; sample < samples; sample++) {
    await stirred(sample)
    took.push(await timed(client, watch, nameOf(sample % ORDINARY)))
  }
  return took
}

/** Changes each of them, so that the operator has to do with them at the very moment. */
async function stir(client: KubeClient, sample: number): Promise<void> {
  const patch = (name: string, spec: object): Promise<unknown> =>
    client.mergePatch(taskQueues, NAMESPACE, name, { spec }, 'bench')
  for (const name of HUGE) await patch(name, { workers: pools(sample + 1) })
  await patch('failing', { results: { ttlSeconds: 1000 + sample } })
  await patch('hanging', { results: { ttlSeconds: 1000 + sample } })
}

function pools(round: number): object[] {
  return Array.from({ length: POOLS }, (_, i) => ({
    name: `pool-${i}`,
    replicas: 1,
    podTemplate: { metadata: { annotations: { round: String(round) } } },
  }))
}

/** Every write of the TaskQueue's children fails with 500: by a webhook that must be asked and is not there. */
async function refuseWritesOf(client: KubeClient, name: string, port: number): Promise<void> {
  await client.json('POST', '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations', {
    body: {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingWebhookConfiguration',
      metadata: { name: 'bench' },
      webhooks: [
        {
          name: 'down.bench.example',
          clientConfig: { url: `https://127.0.0.1:${port}/` },
          rules: [{ apiGroups: ['*'], apiVersions: ['*'], operations: ['CREATE', 'UPDATE'], resources: ['*'] }],
          objectSelector: { matchLabels: { [labelKeys.taskQueue]: name } },
          failurePolicy: 'Fail',
          sideEffects: 'None',
          admissionReviewVersions: ['v1'],
        },
      ],
    },
  })
}

/** A broker that takes every connection and never says a word. */
async function startSilent(): Promise<{ url: string; close: () => Promise<void> }> {
  const sockets = new Set<Socket>()
  const server: Server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `redis://127.0.0.1:${port}/0`,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
