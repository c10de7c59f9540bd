// The one beat Pod. Bare, with a fixed name that is its mutex, restartPolicy OnFailure and no liveness probe: a beat that is
// healthy but late must never be killed. A Pod can't be changed in place, so a hash of its meaning tells when to make it anew.

import { createHash } from 'node:crypto'
import type { V1Container, V1PodSpec, V1PodTemplateSpec } from '@kubernetes/client-node'
import type { KubeObject } from '../objects.ts'
import type { BeatSpec, TaskQueue } from '../taskqueue.ts'
import { companion, hasCompanion } from './companion.ts'
import { appEnvironment, defaultQueue, identityEnvironment } from './environment.ts'
import type { OperatorInputs } from './inputs.ts'
import { annotationKeys, childMetadata, labels, names, secretsAnnotation } from './names.ts'
import { mergeOverlay } from './overlay.ts'
import { SCHEDULES_FILE } from './schedules.ts'
import { HEALTH_PORT } from './supports.ts'
import { containerSecurityContext, podSecurityContext } from './security.ts'

export const BEAT = 'beat'
const STATE_FOLDER = '/var/lib/taskqueue'
const SCHEDULES_FOLDER = '/etc/taskqueue/schedules'

export interface DesiredPod extends KubeObject {
  spec: V1PodSpec
}

/** `appImage` is the image of a Celery or Command beat, which may lag behind the spec's (see index.ts). */
export function beatPod(
  queue: TaskQueue,
  beat: BeatSpec,
  appImage: string,
  inputs: OperatorInputs,
  revision: string | undefined,
): DesiredPod {
  const build = (images: OperatorInputs): V1PodTemplateSpec => template(queue, beat, appImage, images, revision)
  // What the operator brings in itself is left out of the hash: its upgrade must roll nobody's beat.
  const { allowDiscipline } = inputs
  const meaning = build({ operatorImage: '', companionImage: '', allowDiscipline })
  const hash = createHash('sha256').update(JSON.stringify(meaning)).digest('hex').slice(0, 16)
  const { metadata, spec } = build(inputs)
  const base = childMetadata(queue, names.beatPod(queue), metadata?.labels ?? {})
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { ...base, annotations: { ...metadata?.annotations, [annotationKeys.specHash]: hash } },
    spec: spec as V1PodSpec,
  }
}

function template(
  queue: TaskQueue,
  beat: BeatSpec,
  appImage: string,
  inputs: OperatorInputs,
  revision: string | undefined,
): V1PodTemplateSpec {
  const declared = beat.scheduler === 'Declared'
  const base: V1PodTemplateSpec = {
    metadata: {
      labels: labels(queue, 'beat'),
      annotations: {
        'kubectl.kubernetes.io/default-container': BEAT,
        // A bare Pod would keep the cluster autoscaler from removing its node.
        'cluster-autoscaler.kubernetes.io/safe-to-evict': 'true',
        ...secretsAnnotation(revision),
      },
    },
    spec: {
      serviceAccountName: names.serviceAccount(queue),
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      restartPolicy: 'OnFailure',
      ...(queue.spec.imagePullSecrets ? { imagePullSecrets: queue.spec.imagePullSecrets } : {}),
      securityContext: podSecurityContext,
      terminationGracePeriodSeconds: 30,
      ...(hasCompanion(queue) ? { initContainers: [companion(queue, undefined, inputs)] } : {}),
      containers: [declared ? declaredBeat(queue, beat, inputs) : appBeat(queue, beat, appImage)],
      volumes: [
        { name: 'tmp', emptyDir: {} },
        { name: 'state', persistentVolumeClaim: { claimName: names.beatVolume(queue) } },
        ...(declared ? [{ name: 'schedules', configMap: { name: names.schedules(queue) } }] : []),
      ],
    },
  }
  return mergeOverlay(mergeOverlay(base, queue.spec.podTemplate), beat.podTemplate)
}

function beatContainer(beat: BeatSpec): Pick<V1Container, 'name'> & Partial<V1Container> {
  return {
    name: BEAT,
    resources: beat.resources ?? {},
    securityContext: containerSecurityContext,
    volumeMounts: [
      { name: 'tmp', mountPath: '/tmp' },
      { name: 'state', mountPath: STATE_FOLDER },
    ],
  }
}

/** With clockSync Off nothing follows from clocks. */
function onSkew({ spec: { clockSync } }: TaskQueue): string {
  return clockSync.mode === 'Off' ? 'Report' : clockSync.onSkew
}

/** Our own beat, from the operator's image: an app's image, in Python above all, has no `taskqueue`. */
function declaredBeat(queue: TaskQueue, beat: BeatSpec, inputs: OperatorInputs): V1Container {
  const container = beatContainer(beat)
  return {
    ...container,
    image: inputs.operatorImage,
    ...(inputs.imagePullPolicy === undefined ? {} : { imagePullPolicy: inputs.imagePullPolicy }),
    command: ['/opt/taskqueue/node_modules/.bin/taskqueue', 'beat'],
    args: [`--schedules=${SCHEDULES_FOLDER}/${SCHEDULES_FILE}`, `--schedule-file=${STATE_FOLDER}/schedule.json`],
    env: [
      ...identityEnvironment(queue),
      { name: 'TASKQUEUE_DEFAULT_QUEUE', value: defaultQueue(queue) },
      { name: 'TASKQUEUE_ENVIRONMENT', value: queue.spec.environment },
      { name: 'TASKQUEUE_MAX_SKEW_SECONDS', value: String(queue.spec.clockSync.maxSkewSeconds) },
      { name: 'TASKQUEUE_ON_SKEW', value: onSkew(queue) },
      { name: 'TASKQUEUE_HEALTH_PORT', value: String(HEALTH_PORT) },
    ],
    ports: [{ name: 'health', containerPort: HEALTH_PORT, protocol: 'TCP' }],
    readinessProbe: {
      httpGet: { path: '/readyz', port: HEALTH_PORT, scheme: 'HTTP' },
      periodSeconds: 5,
      timeoutSeconds: 5,
      successThreshold: 1,
      failureThreshold: 3,
    },
    volumeMounts: [
      ...(container.volumeMounts ?? []),
      { name: 'schedules', mountPath: SCHEDULES_FOLDER, readOnly: true },
    ],
  }
}

/** Celery's beat with its schedule on the volume, or any program of the user's. */
function appBeat(queue: TaskQueue, beat: BeatSpec, image: string): V1Container {
  const celery = beat.scheduler === 'Celery'
  return {
    ...beatContainer(beat),
    image,
    ...(queue.spec.imagePullPolicy ? { imagePullPolicy: queue.spec.imagePullPolicy } : {}),
    command: celery ? ['celery', '--quiet', '-A', queue.spec.app ?? '', 'beat'] : (beat.command ?? []),
    ...(celery
      ? {
          args: [
            '--loglevel=INFO',
            '--scheduler=celery.beat:PersistentScheduler',
            `--schedule=${STATE_FOLDER}/celerybeat-schedule`,
            // No pid file: a container is its own guard, and a stale one would keep beat from starting after a crash.
            '--pidfile=',
          ],
          // Beat has no answer to a probe. It has begun once its schedule file is there (dbm may add a suffix to the name).
          readinessProbe: {
            exec: { command: ['sh', '-c', `ls ${STATE_FOLDER}/celerybeat-schedule*`] },
            periodSeconds: 5,
            timeoutSeconds: 5,
            successThreshold: 1,
            failureThreshold: 3,
          },
        }
      : {}),
    env: appEnvironment(queue),
  }
}
