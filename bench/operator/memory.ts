// What the operator's caches hold at many pods. The pods are made by the bench, as a kubelet would have them, and run nowhere.
import type { LiveDeployment, LivePod } from '../../src/operator/objects.ts'
import { deployments, pathOf, pods } from '../../src/operator/kube/resources.ts'
import { say } from './figures.ts'
import { settled, type Fleet } from './fleet.ts'
import type { Options } from './options.ts'
import { atOnce } from '../../src/operator/atonce.ts'
import { NAMESPACE } from './plane.ts'
import { listAll } from './queues.ts'

export async function memory({ plane, operator }: Fleet, options: Options): Promise<void> {
  const before = operator.program.memory()
  const live = await listAll<LiveDeployment>(plane.client, deployments)
  await atOnce(
    Array.from({ length: options.pods }, (_, i) => i),
    16,
    async (i) => {
      const deployment = live[i % live.length]
      if (!deployment) return
      const pod = podOf(deployment, i)
      await plane.client.create(pod, 'kubelet')
      await plane.client.json('PATCH', pathOf(pods, NAMESPACE, pod.metadata.name, 'status'), {
        body: { status: statusOf(pod) },
        contentType: 'application/merge-patch+json',
      })
    },
  )
  await settled(operator)
  const { rss, anonymous, peak } = operator.program.memory()
  const heap = (await operator.metric('nodejs_heap_size_used_bytes')) / 2 ** 20
  say(`memory: ${options.queues} TaskQueues, ${options.pods} worker pods beside their beats`)
  say(
    `  RSS ${rss} MiB (wanted <= 256), anonymous ${anonymous}, peak ${peak}, used heap ${heap.toFixed(0)}; before ${before.rss}`,
  )
}

/** A pod of the Deployment's newest ReplicaSet. */
function podOf(deployment: LiveDeployment, index: number): LivePod {
  const { name } = deployment.metadata
  const { metadata, spec } = deployment.spec.template
  const hash = '5d4f8c7b9f'
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${name}-${hash}-${index.toString(36).padStart(5, '0')}`,
      namespace: NAMESPACE,
      labels: { ...metadata?.labels, 'pod-template-hash': hash },
      ...(metadata?.annotations ? { annotations: metadata.annotations } : {}),
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'ReplicaSet',
          name: `${name}-${hash}`,
          // Any will do: nobody collects garbage here.
          uid: deployment.metadata.uid ?? '',
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    spec,
  }
}

function statusOf({ spec }: LivePod): object {
  const at = new Date().toISOString().replace(/\.\d+Z$/, 'Z')
  const ready = (container: { name: string; image?: string }): object => ({
    name: container.name,
    image: container.image ?? '',
    imageID: `${container.image ?? ''}@sha256:${'0'.repeat(64)}`,
    containerID: `containerd://${'0'.repeat(64)}`,
    ready: true,
    started: true,
    restartCount: 0,
    state: { running: { startedAt: at } },
  })
  const conditions = ['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled']
  return {
    phase: 'Running',
    qosClass: 'Burstable',
    hostIP: '10.1.0.1',
    podIP: '10.2.0.1',
    podIPs: [{ ip: '10.2.0.1' }],
    startTime: at,
    conditions: conditions.map((type) => ({ type, status: 'True', lastTransitionTime: at })),
    containerStatuses: spec.containers.map(ready),
    initContainerStatuses: (spec.initContainers ?? []).map(ready),
  }
}
